"""Patient ids that several people share."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from client.imaging.catalogue import Row
from client.imaging.doubtful import MOST_EXAMS, says_nobody, without_doubtful
from client.imaging.reasons import Reason
from client.imaging.settings import DataSettings

ROW = Row("dicom", "a", patient="p", exam="e", by_header=True, birth="b", sex="f")
OTHER = replace(ROW, file="z", patient="q")


def exams(count: int, **changes: object) -> list[Row]:
    return [replace(ROW, file=f"{n}", exam=f"{n}", **changes) for n in range(count)]  # type: ignore[arg-type]


def reasons(*rows: Row, most: int = MOST_EXAMS) -> set[Reason | None]:
    return {row.set_aside for row in without_doubtful(rows, most_exams=most) if row.patient == "p"}


@pytest.mark.parametrize("word", ["", " ", "ANONYMOUS", "anon", "Anonymized", "0000", "xxx", "N/A", "unknown", "---"])
def test_words_for_nobody(word: str) -> None:
    assert says_nobody(word)


@pytest.mark.parametrize("word", ["P-1", "anon-0017", "10", "Xu", "00001", "testa", "Nan^Anna"])
def test_words_for_somebody(word: str) -> None:
    assert not says_nobody(word)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([*exams(5), OTHER], None),
        (exams(4), None),
        (exams(5), Reason.PATIENT_CONSTANT),
        ([*exams(7), OTHER], Reason.PATIENT_CROWDED),
        ([ROW, replace(ROW, file="b", birth="c"), OTHER], Reason.PATIENT_CONFLICT),
        ([ROW, replace(ROW, file="b", sex="m"), OTHER], Reason.PATIENT_CONFLICT),
        ([ROW, replace(ROW, file="b", birth=None, sex=None), OTHER], None),
    ],
)
def test_an_id_that_several_share_is_set_aside(rows: Sequence[Row], reason: Reason | None) -> None:
    assert reasons(*rows, most=6) == {reason}


def test_a_patient_whom_the_table_names_is_believed() -> None:
    assert reasons(*exams(99, by_header=False), replace(ROW, by_header=False, birth="c")) == {None}


def test_other_reasons_come_first_and_count_for_nothing() -> None:
    aside = replace(ROW, file="b", birth="c", set_aside=Reason.DUPLICATE)
    assert [row.set_aside for row in without_doubtful([ROW, aside, OTHER])] == [None, Reason.DUPLICATE, None]


def test_what_the_site_may_say_begins_at_the_same_number() -> None:
    settings = DataSettings.model_validate({"kind": "dicom", "folder": "a", "labels": "b"})
    assert settings.exams_per_patient == MOST_EXAMS
