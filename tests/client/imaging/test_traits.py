"""Sex and age band of a patient, from a header or the study's columns, and one word for all of a patient's images."""

import numpy as np
import pytest

from client.imaging.clinical import Missing
from client.imaging.traits import Traits, by_patient, traits_of, traits_of_header
from shared.clinical import ClinicalColumn
from shared.subgroups import TRAITS, VALUES

COLUMNS = {
    "age": ClinicalColumn(unit="years", low=0, high=120),
    "sex": ClinicalColumn(kind="category", values=("Male", "f")),
}


@pytest.mark.parametrize(
    ("said", "sex", "band"),
    [
        ({"sex": "F", "age": "064Y"}, "female", "40-64"),
        ({"sex": "M", "age": "018M"}, "male", "0-17"),
        ({"sex": "O", "birth": "19500601", "day": "20200601"}, "other", "65-79"),
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


def test_a_patient_of_two_words_is_several_and_silence_says_nothing() -> None:
    words = VALUES["vendor"]
    own = [words.index(word) for word in ("ge", "unstated", "ge", "siemens", "unstated")]
    traits = np.zeros((5, len(TRAITS)), np.int8)
    traits[:, TRAITS.index("vendor")] = own
    found = by_patient(traits, np.array([0, 0, 1, 1, 2]), "vendor")
    assert [words[place] for place in found] == ["ge", "several", "unstated"]
