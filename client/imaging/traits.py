"""To which subgroups a patient belongs: sex and age band as the header or the study's clinical columns say them.

Decides how what is said becomes a word of the closed lists of `shared/subgroups.py`; nothing else of it goes further.
A clinical column called `sex` or `age` comes before the header. Of a header only F and M say a sex: O is also written
where nobody asked. Headers of one series that differ make `several`; over the exams of a follow-up a patient has the
age of the first. Whether anything of a subgroup leaves the site is left to its policy.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.imaging.clinical import Clinical, Missing
from client.imaging.units import factor
from shared.clinical import ClinicalColumn, Columns
from shared.subgroups import BANDS, OTHER, SEVERAL, SEXES, TRAITS, UNSTATED, VALUES, Trait

_SEX = {"F": "female", "M": "male"}  # PS3.3, C.7.1.1
_AGE = re.compile(r"(\d{3})([DWMY])")  # PS3.5, 6.2: AS
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # DA, and as ACR-NEMA had it
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


@dataclass(frozen=True)
class Traits:
    """Sex and age band of a patient, by the words of `VALUES`."""

    sex: str = UNSTATED
    age: str = UNSTATED


def traits_of_header(*, sex: str, age: str, birth: str, day: str) -> Traits:
    """What a DICOM header says: PatientSex, and PatientAge or else PatientBirthDate at StudyDate."""
    return Traits(
        _SEX.get(sex.strip().upper(), UNSTATED), _band(_years(age) if _AGE.fullmatch(age) else _between(birth, day))
    )


def agreed(one: Traits, other: Traits) -> Traits:
    """What two headers of one series say together."""
    return Traits(_agreed(one.sex, other.sex), _agreed(one.age, other.age))


def traits_of(header: Traits, vendor: str, known: Clinical, columns: Columns) -> Mapping[Trait, str]:
    """An image's word for every trait: what the study's clinical columns say, or else the header."""
    said: dict[Trait, str] = {"sex": header.sex, "age": header.age, "vendor": vendor}
    sex, age = known.get("sex", Missing.NO_COLUMN), known.get("age", Missing.NO_COLUMN)
    if not isinstance(sex, Missing) and columns["sex"].values:
        said["sex"] = SEXES.get(columns["sex"].values[int(sex)].casefold(), UNSTATED)
    if not isinstance(age, Missing) and not columns["age"].values:
        said["age"] = _band(_in_years(age, columns["age"]))
    return {trait: word if word in VALUES[trait] else OTHER for trait, word in said.items()}


def by_patient(traits: NDArray[np.int8], patients: NDArray[np.int64], trait: Trait) -> NDArray[np.int64]:
    """(patients,) places in `VALUES[trait]`, from the (images, traits) of their images.

    An image that says nothing says nothing against the others. Of ages the least counts, that of the first exam.
    """
    unstated, several = VALUES[trait].index(UNSTATED), VALUES[trait].index(SEVERAL)
    own = traits[:, TRAITS.index(trait)].astype(np.int64)
    said = np.where(own == unstated, len(VALUES[trait]), own)
    count = int(patients.max()) + 1 if len(patients) else 0
    least, most = np.full(count, len(VALUES[trait])), np.full(count, -1)
    np.minimum.at(least, patients, said)
    np.maximum.at(most, patients, np.where(own == unstated, -1, own))
    apart = most == several if trait == "age" else least != most
    return np.where(most < 0, unstated, np.where(apart, several, least))


def _agreed(one: str, other: str) -> str:
    said = {one, other} - {UNSTATED}
    return SEVERAL if len(said) > 1 else next(iter(said), UNSTATED)


def _in_years(age: float, column: ClinicalColumn) -> float | None:
    to_years = factor(column.unit or "years", "years", molar_mass=None)
    return None if to_years is None else age * to_years


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
