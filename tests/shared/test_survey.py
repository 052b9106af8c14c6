"""What a survey may tell, and what it withholds."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone_site import a_study

from client.imaging.dicom_kind import _VENDORS
from client.imaging.reasons import Reason
from shared.survey import SPLITS, Cell, Survey, SurveyedSplit, Vendor, Why, cells_of, covered, surveyable

NOBODY = SurveyedSplit(patients=0, classes={})


def survey(*, patients: int = 100, vendors: dict[str, Cell] | None = None, **classes: int) -> Survey:
    parts = {"train": SurveyedSplit(patients=patients, classes=dict(classes)), "validation": NOBODY, "test": NOBODY}
    fields = {"found": 200, "used": 150, "set_aside": {"duplicate": 50}, "missing": {}, "splits": parts}
    return Survey.model_validate(fields | {"vendors": vendors or {}})


def told(**classes: int) -> dict[str, Cell]:
    return covered(survey(**classes), smallest=11).splits["train"].classes


def test_a_small_cell_is_withheld_and_one_more_so_that_no_sum_tells_it() -> None:
    assert told(a=60, b=35, c=5) == {"a": 60, "b": None, "c": None}
    assert told(a=60, b=20, c=20) == {"a": 60, "b": 20, "c": 20}
    assert told(a=76, b=12, c=6, d=6) == {"a": 76, "b": 12, "c": None, "d": None}  # the two together are twelve


def test_a_side_that_nearly_everybody_is_on_is_withheld() -> None:
    assert told(opacity=95, negative=5) == {"opacity": None, "negative": None}
    assert told(opacity=100, negative=0) == {"opacity": None, "negative": None}
    assert told(mass=40, nodule=92) == {"mass": 40, "nodule": None}  # eight are without a nodule


def test_the_same_goes_for_vendors_and_splits_and_columns() -> None:
    few = covered(survey(vendors={"ge": 96, "siemens": 4}), smallest=11)
    assert few.vendors == {"ge": None, "siemens": None}
    assert [few.splits[name].patients for name in SPLITS] == [100, 0, 0]
    missing = survey().model_copy(update={"missing": {"age": 3, "sex": 50, "height": 97}})
    assert covered(missing, smallest=11).missing == {"age": None, "sex": 50, "height": None}


def test_a_site_may_withhold_nothing() -> None:
    assert covered(survey(a=1), smallest=1) == survey(a=1)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40)), st.integers(2, 20))
def test_no_cell_and_no_sum_of_those_withheld_is_small(cells: dict[str, int], smallest: int) -> None:
    whole = sum(cells.values())
    classes = covered(survey(patients=whole, **cells), smallest=smallest).splits["train"].classes
    hidden = [cells[name] for name, cell in classes.items() if cell is None]
    assert all(cell is None or smallest <= cell <= whole - smallest for cell in classes.values())
    assert not hidden or sum(hidden) >= smallest or len(hidden) == len(cells)
    assert all(cell in (None, cells[name]) for name, cell in classes.items())


def test_every_cell_is_looked_at() -> None:
    few = {"found": 4, "used": 3, "set_aside": {"duplicate": 1}, "missing": {"age": 2}, "intensity": (0.1, 0.4, 0.9)}
    tiny = survey(patients=3, a=1, b=2, vendors={"ge": 3}).model_copy(update=few)
    assert set(cells_of(covered(tiny, smallest=11))) == {None}
    assert covered(tiny, smallest=11).intensity is None
    assert covered(survey().model_copy(update=few), smallest=11).intensity == (0.1, 0.4, 0.9)


def test_splits_and_reasons_do_not_tell_a_few_by_a_difference() -> None:
    parts = {name: SurveyedSplit(patients=n, classes={}) for name, n in zip(SPLITS, (100, 12, 5), strict=True)}
    some = covered(survey().model_copy(update={"splits": parts}), smallest=11)
    assert [some.splits[name].patients for name in SPLITS] == [100, None, None]
    few = covered(survey().model_copy(update={"found": 155, "set_aside": {"duplicate": 5}}), smallest=11)
    assert (few.found, few.used, few.set_aside) == (None, 150, {"duplicate": None})


def test_the_lists_are_those_of_the_account() -> None:
    silent = {Reason.WITHDRAWN, Reason.NOT_AGREED}  # of single patients, and nobody's business
    assert set(get_args(Why)) - {"other"} == {reason.value for reason in set(Reason) - silent}
    assert set(get_args(Vendor)) - {"other", "unstated"} == {vendor for _, vendor in _VENDORS}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"splits": dict.fromkeys(SPLITS, SurveyedSplit(patients=20, classes={"mueller": 20}))}, "another class"),
        ({"missing": {"income": 20}}, "another column"),
    ],
)
def test_nothing_is_counted_that_the_study_does_not_name(changes: dict[str, object], fault: str | None) -> None:
    agreed = surveyable(a_study(clinical={"age": {"low": 0, "high": 120}}))
    assert (agreed.classes, agreed.columns) == (("opacity", "negative"), ("age",))
    found = agreed.fault(survey(opacity=60, negative=40).model_copy(update=changes))
    assert (found is None) if fault is None else fault in str(found)
