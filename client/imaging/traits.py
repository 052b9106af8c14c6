"""To which subgroups a patient belongs: sex and age band as the header or the study's clinical columns say them.

Decides how what is said becomes a word of the closed lists of `shared/subgroups.py`; nothing else of it goes further.
A clinical column called `sex` or `age` comes before the header. Whether anything of a subgroup leaves the site is left
to its policy.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.imaging.clinical import Clinical, Missing
from shared.clinical import Columns
from shared.subgroups import BANDS, OTHER, SEVERAL, TRAITS, UNSTATED, VALUES, Trait

_SEXES = {**dict.fromkeys(("f", "female", "w"), "female"), **dict.fromkeys(("m", "male"), "male")}
_AGE = re.compile(r"(\d{3})([DWMY])")  # PS3.5, 6.2: AS
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # DA, and as ACR-NEMA had it
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_YEARS = (None, "years", "year", "y", "yr", "a", "Jahre")


@dataclass(frozen=True)
class Traits:
    """Sex and age band of a patient, by the words of `VALUES`."""

    sex: str = UNSTATED
    age: str = UNSTATED


def traits_of_header(*, sex: str, age: str, birth: str, day: str) -> Traits:
    """What a DICOM header says: PatientSex, and PatientAge or else PatientBirthDate at StudyDate."""
    return Traits(_sex(sex), _band(_years(age) if _AGE.fullmatch(age) else _between(birth, day)))


def traits_of(header: Traits, vendor: str, known: Clinical, columns: Columns) -> Mapping[Trait, str]:
    """An image's word for every trait: what the study's clinical columns say, or else the header."""
    said: dict[Trait, str] = {"sex": header.sex, "age": header.age, "vendor": vendor}
    sex, age = known.get("sex", Missing.NO_COLUMN), known.get("age", Missing.NO_COLUMN)
    if not isinstance(sex, Missing) and columns["sex"].values:
        said["sex"] = _sex(columns["sex"].values[int(sex)])
    if not isinstance(age, Missing) and columns["age"].unit in _YEARS and not columns["age"].values:
        said["age"] = _band(age)
    return {trait: word if word in VALUES[trait] else OTHER for trait, word in said.items()}


def by_patient(traits: NDArray[np.int8], patients: NDArray[np.int64], trait: Trait) -> NDArray[np.int64]:
    """(patients,) places in `VALUES[trait]`, from the (images, traits) of their images.

    An image that says nothing says nothing against the others.
    """
    unstated, several = VALUES[trait].index(UNSTATED), VALUES[trait].index(SEVERAL)
    own = traits[:, TRAITS.index(trait)].astype(np.int64)
    said = np.where(own == unstated, len(VALUES[trait]), own)
    count = int(patients.max()) + 1 if len(patients) else 0
    least, most = np.full(count, len(VALUES[trait])), np.full(count, -1)
    np.minimum.at(least, patients, said)
    np.maximum.at(most, patients, np.where(own == unstated, -1, own))
    return np.where(most < 0, unstated, np.where(least == most, most, several))


def _sex(word: str) -> str:
    folded = word.strip().casefold()
    return _SEXES.get(folded, OTHER if folded else UNSTATED)


def _years(age: str) -> float:
    number, unit = int(age[:3]), age[3]
    return number / _PER_YEAR[unit]


def _between(birth: str, day: str) -> float | None:
    born, then = _DATE.fullmatch(birth), _DATE.fullmatch(day)
    if born is None or then is None:
        return None
    (year, *date), (last, *at) = ([int(part) for part in found.groups()] for found in (born, then))
    return last - year - (at < date)


def _band(years: float | None) -> str:
    if years is None or not 0 <= years <= 130:
        return UNSTATED
    return [name for least, name in BANDS if years >= least][-1]
