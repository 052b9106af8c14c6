"""What a clinical column of a study may be."""

import pytest
from pydantic import ValidationError

from shared.clinical import ClinicalColumn
from shared.study import Study, parse_study

STUDY = """\
[study]
name = "lungs"
[task]
classes = ["opacity"]
[training]
steps_per_round = 2
[clinical.sex]
kind = "category"
values = ["female", "male"]
[clinical.age]
unit = "years"
low = 0
high = 120
"""


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "low and high"),
        ({"low": 2, "high": 2}, "first below the second"),
        ({"low": 0, "high": 1, "values": ["a", "b"]}, "use kind = category"),
        ({"kind": "category", "values": ["only"]}, "at least two values"),
        ({"kind": "category", "values": ["m", "M"]}, "differ, case aside"),
        ({"kind": "category", "values": ["m", "f"], "unit": "years"}, "a category has no unit"),
        ({"low": 0, "high": 1, "sd": 0}, "greater than 0"),
        ({"low": 0, "high": float("nan")}, "finite"),
    ],
)
def test_what_makes_no_column_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClinicalColumn.model_validate(keys)


def test_columns_have_one_order_wherever_the_study_travels() -> None:
    study = parse_study(STUDY)
    assert list(study.clinical) == ["age", "sex"]
    assert list(Study.model_validate_json(study.canonical()).clinical) == ["age", "sex"]
    assert (study.clinical["age"].width, study.clinical["sex"].width) == (2, 3)


def test_a_number_is_standardised_by_what_the_study_declares() -> None:
    column = ClinicalColumn(low=0, high=120)
    assert (column.middle, column.spread) == (60, 30)
    column = ClinicalColumn(low=0, high=120, mean=47, sd=5)
    assert (column.middle, column.spread) == (47, 5)
