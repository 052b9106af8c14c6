"""Sex and age band of a patient, from a header or the study's columns, and one word for all of a patient's images."""

import numpy as np
import pytest

from client.imaging.clinical import Missing
from client.imaging.traits import Traits, agreed, by_patient, traits_of, traits_of_header
from client.imaging.units import factor
from shared.clinical import ClinicalColumn
from shared.subgroups import AGE_UNITS, TRAITS, VALUES, Trait

COLUMNS = {
    "age": ClinicalColumn(unit="years", low=0, high=120),
    "sex": ClinicalColumn(kind="category", values=("Male", "f")),
}


@pytest.mark.parametrize(
    ("said", "sex", "band"),
    [
        ({"sex": "F", "age": "064Y"}, "female", "40-64"),
        ({"sex": "M", "age": "018M"}, "male", "0-17"),
        ({"sex": "O", "birth": "19500601", "day": "20200601"}, "unstated", "65-79"),
        ({"sex": "U"}, "unstated", "unstated"),
        ({"sex": "Frau"}, "unstated", "unstated"),
        ({"birth": "19500602", "day": "20200601"}, "unstated", "65-79"),
        ({"birth": "19550602", "day": "20200601"}, "unstated", "40-64"),  # 64 until the next day
        ({"age": "64", "birth": "1950"}, "unstated", "unstated"),
        ({"birth": "20300101", "day": "20200601"}, "unstated", "unstated"),
    ],
)
def test_a_header_is_brought_to_the_lists(said: dict[str, str], sex: str, band: str) -> None:
    assert traits_of_header(**({"sex": "", "age": "", "birth": "", "day": ""} | said)) == Traits(sex, band)


def test_a_column_of_the_study_comes_before_the_header() -> None:
    header = Traits("female", "0-17")
    assert traits_of(header, "ge", {"age": 80.0, "sex": 0.0}, COLUMNS) == {"sex": "male", "age": "80+", "vendor": "ge"}
    unknown = {"age": Missing.EMPTY, "sex": Missing.CONFLICT}
    assert traits_of(header, "acme", unknown, COLUMNS) == {"sex": "female", "age": "0-17", "vendor": "other"}


@pytest.mark.parametrize(("word", "sex"), [("O", "other"), ("Unknown", "unstated"), ("w", "female")])
def test_a_column_alone_says_that_a_sex_is_another(word: str, sex: str) -> None:
    columns = {"sex": ClinicalColumn(kind="category", values=(word, "m"))}
    assert traits_of(Traits("male"), "ge", {"sex": 0.0}, columns)["sex"] == sex


@pytest.mark.parametrize(("unit", "age"), [(None, 64.9), ("Months", 779.0), ("weeks", 3386.0), ("days", 23700.0)])
def test_an_age_is_brought_to_years(unit: str | None, age: float) -> None:
    columns = {"age": ClinicalColumn(unit=unit, low=0, high=50000)}
    assert traits_of(Traits(), "ge", {"age": age}, columns)["age"] == "40-64"
    assert all(factor(unit, "years", molar_mass=None) for unit in AGE_UNITS)


def patient_words(trait: Trait, said: tuple[str, ...], patients: tuple[int, ...]) -> list[str]:
    words = VALUES[trait]
    traits = np.zeros((len(said), len(TRAITS)), np.int8)
    traits[:, TRAITS.index(trait)] = [words.index(word) for word in said]
    return [words[place] for place in by_patient(traits, np.array(patients), trait)]


def test_a_patient_of_two_words_is_several_and_silence_says_nothing() -> None:
    said = ("ge", "unstated", "ge", "siemens", "unstated")
    assert patient_words("vendor", said, (0, 0, 1, 1, 2)) == ["ge", "several", "unstated"]


def test_a_patient_who_is_scanned_again_has_the_age_of_the_first_exam() -> None:
    said = ("40-64", "18-39", "unstated", "unstated", "80+", "several")
    assert patient_words("age", said, (0, 0, 0, 1, 2, 2)) == ["18-39", "unstated", "several"]


def test_headers_of_one_series_that_differ_are_marked() -> None:
    one = Traits("female", "unstated")
    assert agreed(one, Traits("unstated", "0-17")) == Traits("female", "0-17")
    assert agreed(agreed(one, Traits("male", "0-17")), one) == Traits("several", "0-17")
