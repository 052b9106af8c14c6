"""What commands did is said in the ledger, by whoever may write there."""

from pathlib import Path

import pytest
from lone_site import LoneSite, a_study

from client.starting import note_start
from client.waiting_entries import FILE_NAME, entries_said, keep_entry, note_entries, note_now
from shared.errors import TrustError

KIND = "result_stored"


def numbers(folder: Path) -> list[int]:
    return [one.data["bytes"] for one in entries_said(folder, {KIND})]


def test_a_running_agent_notes_them_before_its_next_work(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    for number in (1, 2):
        keep_entry(site.folder, KIND, {"bytes": number})
    assert (site.entries(KIND), numbers(site.folder)) == ([], [1, 2])
    site.open()
    assert [said["bytes"] for said in site.entries(KIND)] == numbers(site.folder) == [1, 2]
    assert not (site.folder / FILE_NAME).exists()
    keep_entry(site.folder, KIND, {"bytes": 3})
    note_start(site.site)
    assert numbers(site.folder) == [1, 2, 3]
    site.close()


def test_what_a_power_cut_tore_was_never_kept(tmp_path: Path) -> None:
    keep_entry(tmp_path, KIND, {"bytes": 1})
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"type":"result_st')
    assert numbers(tmp_path) == [1]
    keep_entry(tmp_path, KIND, {"bytes": 2})
    assert numbers(tmp_path) == [1, 2]


def test_a_site_that_has_not_joined_keeps_them(tmp_path: Path) -> None:
    keep_entry(tmp_path, KIND, {"bytes": 1})
    assert not note_now(tmp_path, now="2026-01-02T03:04:05Z")
    assert numbers(tmp_path) == [1]


def test_a_damaged_file_stops_no_study_and_is_named(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    (site.folder / FILE_NAME).write_text("{\n")
    note_entries(site.folder, site.site.ledger, time=site.site.now())
    assert (site.folder / FILE_NAME).exists()
    with pytest.raises(TrustError, match="damaged"):
        numbers(site.folder)
    site.close()
