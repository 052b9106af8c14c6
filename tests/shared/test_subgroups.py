"""Subgroups: closed words, and nothing of few patients, directly or by difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone_site import a_study
from pydantic import ValidationError

from shared.subgroups import SUMS, VALUES, Subgroup, covered

ROW = 2  # two bins a side, so that histograms are short
CELL = 10
Sides = Mapping[str, tuple[int, int]]  # negatives and positives by value


def vendors(sides: Sides) -> list[Subgroup]:
    return [
        Subgroup(trait="vendor", value=name, patients=n + p, histogram=(n, 0, 0, p), figures={"auroc": 0.8})
        for name, (n, p) in sides.items()
    ]


def cover(group: Sequence[Subgroup], of: Sides, smallest: int = CELL) -> tuple[Subgroup, ...]:
    """Of a score whose patients are all in these subgroups."""
    without, having = (sum(side) for side in zip((0, 0), *of.values(), strict=True))
    return covered(group, patients=without + having, counting=(without, 0, 0, having), row=ROW, smallest=smallest)


def told(sides: Sides, smallest: int = CELL) -> dict[str, int | None]:
    return {one.value: one.patients for one in cover(vendors(sides), sides, smallest)}


def test_large_ones_are_told_whole() -> None:
    sides = {"ge": (10, 10), "siemens": (50, 40)}
    assert cover(vendors(sides), sides) == tuple(vendors(sides))


def test_few_of_a_class_are_few() -> None:
    sides = {"ge": (400, 9), "philips": (9, 400), "siemens": (50, 40)}
    found = cover(vendors(sides), sides)
    assert [(one.value, one.patients, one.histogram, one.figures) for one in found[:2]] == [
        ("ge", None, (), {}),
        ("philips", None, (), {}),
    ]
    assert found[2].patients == 90  # the two together are enough


def test_one_that_is_withheld_does_not_follow_from_the_others() -> None:
    assert told({"ge": (3, 2), "philips": (20, 20), "siemens": (50, 40)}) == {
        "ge": None,
        "philips": None,
        "siemens": 90,
    }
    assert told({"ge": (3, 2), "siemens": (50, 40)}) == {"ge": None, "siemens": None}


def test_who_withholds_nothing_tells_all() -> None:
    assert told({"ge": (1, 0), "siemens": (50, 40)}, smallest=1) == {"ge": 1, "siemens": 90}


def masks(measured: Mapping[str, tuple[int, ...]], patients: int) -> list[Subgroup]:
    """Subgroups of so many patients each, and in how many each structure was measured."""
    sums = {name: (0,) * len(next(iter(measured.values()))) for name in SUMS}
    return [
        Subgroup(trait="vendor", value=name, patients=patients, sums=sums | {"measured": of}, figures={"dice": 0.8})
        for name, of in measured.items()
    ]


def test_a_structure_that_was_measured_in_few_hides_the_subgroup_and_what_it_would_follow_from() -> None:
    group = masks({"ge": (30, 9), "philips": (30, 20), "siemens": (30, 30)}, patients=30)
    found = covered(group, patients=90, counting=(90, 59), row=1, smallest=CELL)
    assert [(one.value, one.patients, one.sums, one.figures) for one in found[:2]] == [
        ("ge", None, {}, {}),
        ("philips", None, {}, {}),
    ]
    assert found[2] == group[2]
    assert covered(group, patients=90, counting=(90, 59), row=1, smallest=9) == tuple(group)


SIDES = st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(any)


@given(sides=st.dictionaries(st.sampled_from(VALUES["vendor"]), SIDES, max_size=8), smallest=st.integers(2, 20))
def test_nothing_that_is_told_or_left_is_of_few(sides: dict[str, tuple[int, int]], smallest: int) -> None:
    found = told(sides, smallest)
    left = [sides[name] for name, patients in found.items() if patients is None]
    assert all(min(sides[name]) >= smallest for name, patients in found.items() if patients is not None)
    if len(left) < len(sides):  # else the difference to all is all of them
        assert not left or min(map(sum, zip(*left, strict=True))) >= smallest


def test_covering_what_is_covered_changes_nothing() -> None:
    sides = {"ge": (3, 2), "philips": (20, 20), "siemens": (50, 40)}
    once = cover(vendors(sides), sides)
    assert cover(once, sides) == once


def test_a_larger_cell_hides_what_those_withheld_under_a_smaller_one_would_follow_from() -> None:
    sides = {"ge": (3, 3), "siemens": (50, 40), "philips": (60, 60)}
    once = cover(vendors(sides), sides, smallest=3)
    part = [one.withheld if one.value == "ge" else one for one in once]
    assert [one.patients for one in cover(part, sides, smallest=3)] == [None, 90, 120]  # six of them, and no fewer
    assert [one.patients for one in cover(part, sides, smallest=11)] == [None, None, 120]


def test_without_histograms_the_remainder_counts_its_patients() -> None:
    part = [Subgroup(trait="sex", value="female", patients=250), Subgroup(trait="sex", value="male", patients=244)]
    found = covered(part, patients=500, counting=(), row=ROW, smallest=11)
    assert [one.patients for one in found] == [250, None]
    assert covered(part, patients=494, counting=(), row=ROW, smallest=11) == tuple(part)


@pytest.mark.parametrize(
    "said",
    [
        {"trait": "sex", "value": "siemens", "patients": 20},
        {"trait": "name", "value": "female", "patients": 20},
        {"trait": "sex", "value": "female", "patients": None, "figures": {"auroc": 0.5}},
        {"trait": "sex", "value": "female", "patients": 20, "figures": {"name": 0.5}},
        {"trait": "sex", "value": "female", "patients": 20, "sums": {"measured": (20,)}},
        {"trait": "sex", "value": "female", "patients": None, "sums": dict.fromkeys(SUMS, (20,))},
        {"trait": "sex", "value": "female", "patients": 20, "histogram": (20,), "sums": dict.fromkeys(SUMS, (20,))},
    ],
)
def test_another_word_is_no_subgroup(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Subgroup.model_validate(said)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"task": {"classes": ["a"], "subgroups": ["sex", "sex"]}}, "twice"),
        ({"task": {"mode": "multilabel", "classes": [f"c{n}" for n in range(7)], "subgroups": ["age"]}}, "at most 6"),
    ],
)
def test_a_study_that_cannot_have_them_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        a_study(**changes)


@pytest.mark.parametrize(
    ("trait", "column", "why"),
    [
        ("sex", {"kind": "category", "values": ["Frau", "Mann"]}, "of the values f, female"),
        ("sex", {"low": 0, "high": 1}, "must be a category"),
        ("age", {"unit": "decades", "low": 0, "high": 13}, "in years, months, weeks, days"),
        ("age", {"kind": "category", "values": ["young", "old"]}, "must be a number"),
    ],
)
def test_a_column_that_tells_nobody_s_subgroup_is_refused(trait: str, column: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        a_study(task={"classes": ["a"], "subgroups": [trait]}, clinical={trait: column})
    assert a_study(task={"classes": ["a"], "subgroups": ["vendor"]}, clinical={trait: column})


def test_a_study_of_masks_may_ask_for_them_and_one_that_draws_not() -> None:
    task = {"classes": [f"c{n}" for n in range(9)], "mode": "multiclass", "subgroups": ["age"], "kind": "segmentation"}
    assert a_study(task=task, model={"name": "unet"}).task.subgroups == ("age",)
    drawing = {"kind": "generation", "classes": ["a"], "accept_memorisation": True, "subgroups": ["sex"]}
    with pytest.raises(ValidationError, match="and with segmentation"):
        a_study(task=drawing, model={"name": "vae"}, images={"size_px": 16})


def test_columns_in_words_that_count_are_taken() -> None:
    columns = {
        "sex": {"kind": "category", "values": ["F", "Male", "other"]},
        "age": {"unit": "Months", "low": 0, "high": 1500},
    }
    assert a_study(task={"classes": ["a"], "subgroups": ["sex", "age"]}, clinical=columns)
