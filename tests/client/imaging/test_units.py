"""Laboratory units, held against factors that laboratories publish."""

import pytest

from client.imaging.units import factor


@pytest.mark.parametrize(
    ("given", "wanted", "molar_mass", "published"),
    [  # AMA Manual of Style, 11th edition, SI conversion calculator
        ("mg/dL", "mmol/L", 180.156, 0.0555),  # glucose
        ("mg/dl", "\N{MICRO SIGN}mol/l", 113.12, 88.4),  # creatinine
        ("mg/dl", "mmol/l", 386.65, 0.0259),  # cholesterol
        ("umol/l", "mg/dl", 113.12, 1 / 88.4),
        ("g/dl", "g/l", None, 10),
        ("months", "years", None, 1 / 12),
        ("mmHg", "kPa", None, 0.1333),
        ("U/l", "u/L", None, 1),
    ],
)
def test_published_factors(given: str, wanted: str, molar_mass: float | None, published: float) -> None:
    assert factor(given, wanted, molar_mass=molar_mass) == pytest.approx(published, rel=2e-3)


@pytest.mark.parametrize(("given", "wanted"), [("mg/dl", "mmol/l"), ("kg", "cm"), ("U/l", "g/l"), ("degF", "degC")])
def test_what_is_not_known_is_not_guessed(given: str, wanted: str) -> None:
    assert factor(given, wanted, molar_mass=None) is None
