"""What a survey may tell, and what it withholds."""

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lone_site import a_study
from pydantic import ValidationError

from client.imaging.dicom_kind import _VENDORS
from shared.reasons import Reason
from shared.survey import SPLITS, Cell, Survey, SurveyedSplit, Vendor, cells_of, covered, surveyable

NOBODY = SurveyedSplit(patients=0, classes={})


def survey(*, patients: int = 100, vendors: dict[str, Cell] | None = None, **classes: int) -> Survey:
    parts = {"train": SurveyedSplit(patients=patients, classes=dict(classes)), "validation": NOBODY, "test": NOBODY}
    fields = {"found": 200, "used": 150, "set_aside": {"duplicate": 50}, "missing": {}, "splits": parts}
    return Survey.model_validate(fields | {"vendors": vendors or {}})


def told(**classes: int) -> tuple[Cell, dict[str, Cell]]:
    train = covered(survey(**classes), smallest=11).splits["train"]
    return train.patients, train.classes


def test_a_split_with_a_small_class_is_withheld_whole() -> None:
    assert told(a=60, b=20, c=20) == (100, {"a": 60, "b": 20, "c": 20})
    assert told(a=60, b=35, c=5) == (None, {"a": None, "b": None, "c": None})
    assert told(a=60, b=40, c=0) == (None, {"a": None, "b": None, "c": None})  # that nobody has it is told of all


def test_a_side_that_nearly_everybody_is_on_is_withheld() -> None:
    assert told(opacity=95, negative=5) == (None, {"opacity": None, "negative": None})
    assert told(mass=40, nodule=92) == (None, {"mass": None, "nodule": None})  # eight are without a nodule


def test_a_study_with_one_class_more_tells_no_small_class_by_the_difference() -> None:
    fewer, more = (
        covered(survey(patients=n, vendors={"ge": 60, "siemens": n - 60}, **classes), smallest=11)
        for n, classes in ((100, {"a": 60, "b": 40}), (105, {"a": 60, "b": 40, "c": 5}))
    )
    assert fewer.splits["train"].patients == 100
    assert (more.splits["train"].patients, more.found, more.used) == (None, None, None)
    assert more.vendors == {"ge": 60, "siemens": None} or more.vendors == {"ge": None, "siemens": 45}


def test_makers_and_columns_are_withheld_as_classes_are() -> None:
    few = covered(survey(vendors={"ge": 96, "siemens": 4}), smallest=11)
    assert few.vendors == {"ge": None, "siemens": None}
    assert [few.splits[name].patients for name in SPLITS] == [100, 0, 0]
    missing = survey().model_copy(update={"missing": {"age": 3, "sex": 50, "height": 97}})
    assert covered(missing, smallest=11).missing == {"age": None, "sex": 50, "height": None}


def test_a_site_may_withhold_nothing() -> None:
    assert covered(survey(a=1), smallest=1) == survey(a=1)


def one_image_each(rows: Sequence[tuple[int, int]], vendor: float, asides: tuple[int, int]) -> Survey:
    """Patients of one class and one image each, which lets a reader add up most."""
    parts = {
        name: SurveyedSplit(patients=a + b, classes={"a": a, "b": b}) for name, (a, b) in zip(SPLITS, rows, strict=True)
    }
    used = sum(a + b for a, b in rows)
    ge = round(vendor * used)
    aside = dict(zip(("duplicate", "unreadable"), asides, strict=True))
    fields = {"found": used + sum(asides), "used": used, "set_aside": aside, "missing": {}, "splits": parts}
    return Survey.model_validate(fields | {"vendors": {"ge": ge, "siemens": used - ge}})


def unknown_by_sums(whole: Survey, shown: Survey) -> Iterator[tuple[int, bool]]:
    """Each cell that is not told, and whether it follows from those told and from what adds up to what."""
    cells, seen = list(cells_of(whole)), list(cells_of(shown))
    found, used, *others = np.eye(len(cells))  # in the order of `cells_of`
    aside, vendors, splits = others[:2], others[2:4], [others[n : n + 3] for n in (4, 7, 10)]
    sums = [found - used - sum(aside), used - sum(vendors), used - sum(total for total, *_ in splits)]
    sums += [total - a - b for total, a, b in splits]
    hidden = [n for n, cell in enumerate(seen) if cell is None]
    known = np.array(sums)[:, hidden]
    for column, n in enumerate(hidden):
        unit = np.eye(len(hidden))[column]
        ranks = [np.linalg.matrix_rank(rows) for rows in (known, np.vstack([known, unit]))]
        yield cells[n] or 0, ranks[0] == ranks[1]


COUNT = st.integers(0, 60)


@given(
    st.lists(st.tuples(COUNT, COUNT), min_size=3, max_size=3),
    st.floats(0, 1),
    st.tuples(COUNT, COUNT),
    st.integers(2, 20),
)
@example([(40, 25), (2, 3), (25, 25)], 0.5, (20, 20), 11)
@example([(0, 0), (0, 0), (0, 0)], 0.0, (0, 1), 2)
def test_no_small_cell_that_is_withheld_follows_from_sums(
    rows: list[tuple[int, int]], vendor: float, asides: tuple[int, int], smallest: int
) -> None:
    whole = one_image_each(rows, vendor, asides)
    shown = covered(whole, smallest=smallest)
    small = [cell for cell, follows in unknown_by_sums(whole, shown) if follows and cell < smallest]
    assert not any(cell or whole.used for cell in small)  # of nobody there is nothing to keep
    pairs = zip(cells_of(whole), cells_of(shown), strict=True)
    assert all(shown_cell in (None, cell) for cell, shown_cell in pairs)
    assert all(cell is None or cell == 0 or cell >= smallest for cell in cells_of(shown))


def test_every_cell_is_looked_at() -> None:
    few = {"found": 4, "used": 3, "set_aside": {"duplicate": 1}, "missing": {"age": 2}, "intensity": (0.1, 0.4, 0.9)}
    few |= {"size_px": {"rows": (28, 28, 64)}, "spacing_mm": {"rows": (0.1, 0.1, 0.2)}}
    tiny = survey(patients=3, a=1, b=2, vendors={"ge": 3}).model_copy(update=few)
    assert set(cells_of(covered(tiny, smallest=11))) == {None}
    assert covered(tiny, smallest=11).intensity is None
    assert covered(tiny, smallest=11).size_px == covered(tiny, smallest=11).spacing_mm == {}
    enough = covered(survey().model_copy(update=few), smallest=11)
    assert (enough.intensity, enough.size_px) == ((0.1, 0.4, 0.9), few["size_px"])


def test_splits_and_reasons_do_not_tell_a_few_by_a_difference() -> None:
    parts = {name: SurveyedSplit(patients=n, classes={}) for name, n in zip(SPLITS, (100, 12, 5), strict=True)}
    some = covered(survey().model_copy(update={"splits": parts}), smallest=11)
    assert [some.splits[name].patients for name in SPLITS] == [100, None, None]
    few = covered(survey().model_copy(update={"found": 155, "set_aside": {"duplicate": 5}}), smallest=11)
    assert (few.found, few.used, few.set_aside) == (None, 150, {"duplicate": None})


def test_the_lists_are_those_of_the_account() -> None:
    assert set(get_args(Vendor)) - {"other", "unstated"} == {vendor for _, vendor in _VENDORS}


@pytest.mark.parametrize("word", ["withdrawn", "not_agreed", "anything"])
def test_what_is_nobodys_business_has_no_word(word: str) -> None:
    fields = survey().model_dump(mode="json")
    assert (
        Survey.model_validate(fields | {"set_aside": {"duplicate": 50, "other": 3}}).set_aside[Reason.DUPLICATE] == 50
    )
    with pytest.raises(ValidationError):
        Survey.model_validate(fields | {"set_aside": {word: 50}})


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
