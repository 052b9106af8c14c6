"""What commands did is said in the ledger, by whoever may write there."""

from pathlib import Path

import pytest
from lone_site import LoneSite, a_study

from client.starting import note_start
from client.waiting_entries import (
    DAMAGED,
    DAMAGED_FILE,
    FILE_NAME,
    SaidEntries,
    damaged_lines,
    entries_said,
    keep_entry,
    note_entries,
    note_now,
)
from shared.canonical import digest

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
    assert (numbers(tmp_path), damaged_lines(tmp_path)) == ([1], 0)
    keep_entry(tmp_path, KIND, {"bytes": 2})
    assert (numbers(tmp_path), damaged_lines(tmp_path)) == ([1, 2], 0)


def test_a_site_that_has_not_joined_keeps_them(tmp_path: Path) -> None:
    keep_entry(tmp_path, KIND, {"bytes": 1})
    assert not note_now(tmp_path, now="2026-01-02T03:04:05Z")
    assert numbers(tmp_path) == [1]


DAMAGES = {
    "cut short": lambda line: line[: len(line) // 2],
    "edited": lambda line: line.replace(b'"bytes":2', b'"bytes":7'),
    "emptied by a power cut": lambda line: bytes(len(line)),
    "of the ledger's own types": lambda line: b'{"data":{},"type":"head"}',
    "a carriage return within": lambda line: b"{\r" + line,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_set_aside_and_the_others_are_written_down(tmp_path: Path, damage: str) -> None:
    site = LoneSite(tmp_path, study=a_study())
    for number in (1, 2, 3):
        keep_entry(site.folder, KIND, {"bytes": number})
    first, second, third = (site.folder / FILE_NAME).read_bytes().splitlines()
    broken = DAMAGES[damage](second) + b"\n"
    (site.folder / FILE_NAME).write_bytes(first + b"\n" + broken + third + b"\n")
    said = {"bytes": len(broken), "digest": digest(broken)}
    for _ in ("while they wait", "when the ledger has them"):
        assert (numbers(site.folder), damaged_lines(site.folder)) == ([1, 3], 1)
        assert [one.data for one in entries_said(site.folder, {DAMAGED})] == [said]
        note_entries(site.folder, site.site.ledger, time=site.site.now())
    assert ([one["bytes"] for one in site.entries(KIND)], site.entries(DAMAGED)) == ([1, 3], [said])
    assert (site.folder / DAMAGED_FILE).read_bytes() == broken
    keep_entry(site.folder, KIND, {"bytes": 4})
    assert numbers(site.folder) == [1, 3, 4]
    site.close()


@pytest.mark.parametrize("kept", ["whole", "half"])
def test_a_damaged_line_that_was_kept_before_a_crash_is_kept_once(tmp_path: Path, kept: str) -> None:
    site = LoneSite(tmp_path, study=a_study())
    older, broken = b"of last year\n", b"of today\n"
    keep_entry(site.folder, KIND, {"bytes": 1})
    with (site.folder / FILE_NAME).open("ab") as file:
        file.write(broken)
    (site.folder / DAMAGED_FILE).write_bytes(older + (broken if kept == "whole" else broken[:4]))
    note_entries(site.folder, site.site.ledger, time=site.site.now())
    assert (site.folder / DAMAGED_FILE).read_bytes() == older + broken
    assert damaged_lines(site.folder) == 2
    site.close()


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    said = SaidEntries(site.folder, {KIND})

    def newer() -> list[int]:
        return [one.data["bytes"] for one in said.newer()]

    keep_entry(site.folder, KIND, {"bytes": 1})
    keep_entry(site.folder, "result_sent", {"bytes": 9})
    assert (newer(), newer()) == ([1], [])
    keep_entry(site.folder, KIND, {"bytes": 2})
    assert (newer(), newer()) == ([2], [])
    note_entries(site.folder, site.site.ledger, time=site.site.now())
    keep_entry(site.folder, KIND, {"bytes": 30_000})  # in a new file, which is longer than what was read of the old
    assert (newer(), newer()) == ([1, 2, 30_000], [])
    site.close()
