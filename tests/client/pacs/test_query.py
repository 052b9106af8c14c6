"""What is asked of a PACS, and which of its answers are wanted."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from client.pacs.query import LeftOut, Query, is_uid, read_accessions
from client.pacs.settings import QuerySettings
from shared.errors import ConfigError


def query(*, accessions: tuple[str, ...] = (), **keys: Any) -> Query:
    return Query(QuerySettings(**(keys or {"accessions": Path("list")})), accessions)


def test_each_modality_or_accession_is_a_question() -> None:
    year = {"first_day": date(2024, 1, 1), "last_day": date(2024, 12, 31)}
    asked = list(query(modalities=("CR", "DX"), description="*CHEST pa*", **year).for_exams())
    assert [keys["ModalitiesInStudy"] for keys in asked] == ["CR", "DX"]
    assert all(keys["StudyDate"] == "20240101-20241231" and keys["StudyDescription"] == "*CHEST?pa*" for keys in asked)
    assert [keys["AccessionNumber"] for keys in query(accessions=("1", "2")).for_exams()] == ["1", "2"]
    (open_ended,) = query(first_day=date(2024, 1, 1)).for_exams()
    assert open_ended["StudyDate"] == "20240101-"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, None),
        ({"StudyDescription": "pa chest [2]"}, None),
        ({"StudyDate": "20231231"}, LeftOut.DAY),
        ({"StudyDate": ""}, LeftOut.DAY),
        ({"StudyDate": "20250101"}, LeftOut.DAY),
        ({"StudyDescription": "KNEE"}, LeftOut.DESCRIPTION),
        ({"StudyDescription": ""}, LeftOut.DESCRIPTION),
        ({"StudyInstanceUID": "../../etc"}, LeftOut.BAD_UID),
        ({"StudyInstanceUID": ""}, LeftOut.BAD_UID),
    ],
)
def test_exams_are_held_against_the_query(answer: dict[str, str], reason: LeftOut | None) -> None:
    asked = query(description="*chest*", first_day=date(2024, 1, 1), last_day=date(2024, 12, 31))
    sound = {"StudyInstanceUID": "1.2.3", "StudyDate": "20240601", "StudyDescription": "Chest"}
    assert asked.leaves_exam(sound | answer) is reason


@pytest.mark.parametrize("days", [{"first_day": date(1900, 1, 1)}, {"last_day": date(2024, 12, 31)}])
@pytest.mark.parametrize("said", ["", "2024", "2024-06-01", "20240601-20240602", "\u0662\u0660240601", "unknown"])
def test_an_exam_without_a_day_is_of_no_day_that_is_asked_for(days: dict[str, date], said: str) -> None:
    exam = {"StudyInstanceUID": "1.2.3", "StudyDate": "20240601 "}
    assert query(**days).leaves_exam(exam) is None
    assert query(**days).leaves_exam(exam | {"StudyDate": said}) is LeftOut.DAY
    assert query(**days).leaves_exam({"StudyInstanceUID": "1.2.3"}) is LeftOut.DAY
    assert query(description="*").leaves_exam(exam | {"StudyDate": said}) is None


def test_a_pacs_that_passes_over_the_accession_number_is_not_believed() -> None:
    asked = query(accessions=("A-1", "A-2"))
    assert asked.leaves_exam({"StudyInstanceUID": "1.2", "AccessionNumber": "A-2 "}) is None
    assert asked.leaves_exam({"StudyInstanceUID": "1.2", "AccessionNumber": "A-3"}) is LeftOut.ACCESSION


def test_brackets_of_a_description_mean_themselves() -> None:
    exam = {"StudyInstanceUID": "1.2", "StudyDescription": "CHEST [PA]"}
    assert query(description="*[PA]").leaves_exam(exam) is None
    assert query(description="*[PA]").leaves_exam(exam | {"StudyDescription": "CHEST P"}) is LeftOut.DESCRIPTION


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, None),
        ({"Modality": "SR"}, LeftOut.MODALITY),
        ({"BodyPartExamined": "KNEE"}, LeftOut.BODY_PART),
        ({"BodyPartExamined": ""}, LeftOut.BODY_PART_UNSTATED),
        ({"SeriesInstanceUID": "1.2/3"}, LeftOut.BAD_UID),
    ],
)
def test_series_are_held_against_the_query(answer: dict[str, str], reason: LeftOut | None) -> None:
    sound = {"SeriesInstanceUID": "1.2.3", "Modality": "CR", "BodyPartExamined": "CHEST"}
    assert query(modalities=("CR", "DX"), body_parts=("CHEST",)).leaves_series(sound | answer) is reason
    assert query(description="*").leaves_series({"SeriesInstanceUID": "1.2.3"}) is None


@pytest.mark.parametrize("uid", ["1.2.840.10008", "2.25.0", "0.1"])
def test_a_uid(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "1..2", "1.02", "1.2.", "1.2\n", "1/2", "1.2?x=1", "1." + "2" * 63, "\u0661.\u0662"]
)
def test_no_uid(uid: str) -> None:
    assert not is_uid(uid)


def test_accession_numbers_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\ufeffA-1\r\n\n  A-2 \nA-1\n")
    assert read_accessions(tmp_path / "list") == ("A-1", "A-2")


@pytest.mark.parametrize("text", ["", "A*\n", "A\\B\n", "Planted-" * 3, "A?", "\x00"])
def test_a_list_that_cannot_be_asked_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_accessions(tmp_path / "list")
    assert "Planted" not in f"{caught.value.what} {caught.value.remedy}"
    with pytest.raises(ConfigError):
        read_accessions(tmp_path / "absent")
