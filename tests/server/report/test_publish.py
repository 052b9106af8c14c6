"""The two files beside the study, and what stands in their way."""

from pathlib import Path
from typing import Any

import pytest

from server.report import report_data, write_report
from server.report.evidence import read_evidence
from server.study_folder import StudyState
from shared.errors import ResourceError, StudyError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_page_and_the_table_and_nothing_else(wards: Any) -> None:
    ward = wards.finished()
    before = names(ward.folder.path)
    page = write_report(ward.folder)
    assert page == ward.folder.path / "report.html"
    assert names(ward.folder.path) - before == {"report.html", "report.csv"}


def test_a_later_report_replaces_an_earlier_one(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    early = write_report(ward.folder).read_text(encoding="utf-8")
    ward.whole_round(2).whole_round(3).closing_trip(3).finish(3)
    late = write_report(ward.folder).read_text(encoding="utf-8")
    assert "still running" in early
    assert "still running" not in late
    assert "After 3 rounds" in late


def test_data_writes_nothing(wards: Any) -> None:
    ward = wards.finished()
    before = names(ward.folder.path)
    report_data(ward.folder)
    assert names(ward.folder.path) == before


@pytest.mark.parametrize("name", ["study.json", "state.json"])
def test_a_folder_without_its_study_gives_no_report(wards: Any, name: str) -> None:
    ward = wards.finished()
    (ward.folder.path / name).unlink()
    with pytest.raises(StudyError) as caught:
        write_report(ward.folder)
    assert caught.value.remedy


def test_a_disk_that_refuses_is_said_to(wards: Any) -> None:
    ward = wards.finished()
    (ward.folder.path / "report.html").mkdir()
    with pytest.raises(ResourceError, match="could not be written"):
        write_report(ward.folder)


def test_a_journal_that_cannot_be_read(wards: Any) -> None:
    ward = wards.new().end(StudyState.QUEUED)
    path = ward.folder.path / "journal.jsonl"
    path.unlink()
    path.mkdir()
    with pytest.raises(ResourceError, match="cannot be read"):
        read_evidence(ward.folder)


def test_a_line_that_is_still_being_written_is_left_out(wards: Any) -> None:
    ward = wards.finished()
    whole = read_evidence(ward.folder)
    with (ward.folder.path / "journal.jsonl").open("ab") as file:
        file.write(b'{"data":')
    torn = read_evidence(ward.folder)
    assert (torn.chain, len(torn.records)) == (whole.chain, len(whole.records))


def test_the_last_signature_is_found(wards: Any) -> None:
    ward = wards.new().begin()
    assert read_evidence(ward.folder).chain.signed_head is None
    ward.whole_round(1)
    chain = read_evidence(ward.folder).chain
    assert (chain.signed_entries, chain.signed_head) == (chain.entries, chain.head)
    ward.say(ward.opening(2))
    later = read_evidence(ward.folder).chain
    assert (later.signed_head, later.entries) == (chain.head, chain.entries + 1)


@pytest.mark.parametrize(("rounds", "path"), [(0, "models/start.safetensors"), (2, "models/round-00002.safetensors")])
def test_the_model_that_counts_last(wards: Any, rounds: int, path: str) -> None:
    ward = wards.new().begin()
    for number in range(1, rounds + 1):
        ward.whole_round(number)
    file = read_evidence(ward.folder).model_file
    assert file.path == path
    assert file.digest == ward.journal.history.model_digest
