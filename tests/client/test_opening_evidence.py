"""What the coordinator signed is kept as it was; nothing takes its place but time."""

import os
from pathlib import Path

from client.opening_evidence import FOLDER, keep_opening, kept_openings
from shared.openings import read_opening_line


def kept(site: Path) -> set[bytes]:
    return {bytes.fromhex(read_opening_line(line).envelope) for line in kept_openings(site)}


def test_no_opening_takes_the_place_of_another_and_the_same_is_kept_once(tmp_path: Path) -> None:
    for envelope in (b"one", b"another", b"one"):
        keep_opening(tmp_path, envelope)
    assert kept(tmp_path) == {b"one", b"another"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / FOLDER).iterdir())


def test_of_too_many_the_oldest_go(tmp_path: Path) -> None:
    for number in range(5):
        keep_opening(tmp_path, bytes([number]), most=3)
        for path in (tmp_path / FOLDER).iterdir():  # a second later
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    assert kept(tmp_path) == {b"\2", b"\3", b"\4"}
