"""Files are replaced whole, with their mode, and nothing temporary stays."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.durable import (
    fsync_folder,
    locked,
    name_again,
    never_waiting,
    rename_durably,
    show_file,
    wait_for_disk,
    write_atomically,
)

ROOT = Path(__file__).parents[2]


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "roster"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_what_was_asked_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "key", b"secret", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == mode


def test_a_replaced_file_takes_the_new_mode(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key", b"public", mode=0o644)
    write_atomically(tmp_path / "key", b"secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomically(target, b"data")
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", b"")
    with pytest.raises(FileNotFoundError):
        fsync_folder(tmp_path / "none")


def test_a_folder_moves_onto_an_empty_one_and_onto_no_other(tmp_path: Path) -> None:
    for name in ("made", "empty", "full", "again"):
        (tmp_path / name).mkdir()
    (tmp_path / "made" / "file").write_text("x")
    (tmp_path / "full" / "file").write_text("y")
    rename_durably(tmp_path / "made", tmp_path / "empty")
    assert (tmp_path / "empty" / "file").read_text() == "x"
    with pytest.raises(OSError, match="not empty"):
        rename_durably(tmp_path / "again", tmp_path / "full")


def test_a_folder_is_locked_for_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        other = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_shown_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "view"
    for data in (b"first", b"second"):
        show_file(path, data, mode=0o640)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["view"]


def test_a_view_that_cannot_be_shown_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    with pytest.raises(OSError):
        show_file(tmp_path / "view", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["view"]


def test_a_killed_writer_leaves_the_old_or_the_new_file_never_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "model"
    code = f"""
from pathlib import Path
from shared.durable import write_atomically
path = Path({str(path)!r})
while True:
    for letter in b"ab":
        write_atomically(path, bytes([letter]) * 300_000)
        print(letter, flush=True)
"""
    for after in (1, 2, 5):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            for _ in range(after):
                process.stdout.readline()
            process.kill()
        data = path.read_bytes()
        assert data in (b"a" * 300_000, b"b" * 300_000)


def test_a_second_name_is_no_copy_and_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    name_again(tmp_path / "model", tmp_path / "seen")
    assert (tmp_path / "seen").samefile(tmp_path / "model")
    with pytest.raises(FileExistsError):
        name_again(tmp_path / "model", tmp_path / "seen")
    with pytest.raises(FileNotFoundError):
        name_again(tmp_path / "none", tmp_path / "other")


def test_where_no_hard_link_can_be_a_whole_copy_bears_the_name(tmp_path: Path, elsewhere: Path) -> None:
    (elsewhere / "model").write_bytes(b"weights" * 10**5)
    (elsewhere / "model").chmod(0o600)
    with pytest.raises(OSError, match="cross-device"):
        os.link(elsewhere / "model", tmp_path / "seen")
    name_again(elsewhere / "model", tmp_path / "seen")
    assert (tmp_path / "seen").read_bytes() == b"weights" * 10**5
    assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_the_disk_is_waited_for_except_where_nobody_needs_it() -> None:
    nowhere = 2**30  # fsync refuses it, if it is asked
    with pytest.raises(OSError, match="descriptor"):
        wait_for_disk(nowhere)
    with never_waiting():
        wait_for_disk(nowhere)
    with pytest.raises(OSError, match="descriptor"):
        wait_for_disk(nowhere)
