"""From one unit of a laboratory value to another.

Decides which units are known, and by which factor one becomes the other. Between mass and amount of substance the
study's molar mass decides. Units that differ by more than a factor, such as degrees, are not known here.

Sources: The International System of Units (SI Brochure), BIPM, 9th edition 2019, tables 7 and 8; for mmHg and
inches NIST Special Publication 811 (2008), appendix B; a year is 365.25 days (IAU).
"""

from collections.abc import Mapping

_MASS = {
    "g/l": 1.0,
    "g/dl": 10.0,
    "mg/l": 1e-3,
    "mg/dl": 1e-2,
    "ug/l": 1e-6,
    "ug/dl": 1e-5,
    "ng/ml": 1e-6,
    "pg/ml": 1e-9,
}
_AMOUNT = {"mol/l": 1.0, "mmol/l": 1e-3, "umol/l": 1e-6, "nmol/l": 1e-9, "pmol/l": 1e-12}
_KINDS: tuple[Mapping[str, float], ...] = (
    _MASS,
    _AMOUNT,
    {"years": 365.25, "months": 365.25 / 12, "weeks": 7.0, "days": 1.0},
    {"kg": 1.0, "g": 1e-3, "mg": 1e-6},
    {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "in": 0.0254},
    {"kpa": 1.0, "mmhg": 0.133322},
    {"1": 1.0, "%": 1e-2},
    {"10^9/l": 1.0, "10^3/ul": 1.0, "1/ul": 1e-3},
    {"10^12/l": 1.0, "10^6/ul": 1.0},
)


def factor(given: str, wanted: str, *, molar_mass: float | None) -> float | None:
    """What a value in `given` is multiplied with to be in `wanted`; None if nothing is known of it.

    Args:
        given, wanted: units, case and the two signs for micro aside.
        molar_mass: of the substance, in g/mol.
    """
    given, wanted = _plain(given), _plain(wanted)
    if given == wanted:
        return 1.0
    for kind in _KINDS:
        if given in kind and wanted in kind:
            return kind[given] / kind[wanted]
    if molar_mass and given in _MASS and wanted in _AMOUNT:
        return _MASS[given] / molar_mass / _AMOUNT[wanted]
    if molar_mass and given in _AMOUNT and wanted in _MASS:
        return _AMOUNT[given] * molar_mass / _MASS[wanted]
    return None


def _plain(unit: str) -> str:
    return unit.casefold().replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
