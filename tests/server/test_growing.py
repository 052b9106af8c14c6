"""A growing file is hashed as it goes and shows its name only when whole."""

import errno
import hashlib
from pathlib import Path

import pytest

from server.growing import GrowingFile, disk_refused, remove_partial
from shared.errors import DiskFull, ResourceError


def test_it_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with GrowingFile(target) as file:
        file.write(b"ab")
        file.write(memoryview(b"c"))
        assert target.read_bytes() == b"old"
        assert (file.size, file.digest) == (3, hashlib.sha256(b"abc").hexdigest())
        assert file.finish() == target
    assert target.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == [target]


def test_unfinished_it_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with GrowingFile(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_died_in_the_making_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".file.x1.part").touch()
    (tmp_path / ".file.x2.part").touch()
    (tmp_path / "kept").touch()
    remove_partial(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["below", "kept"]


def test_a_folder_that_is_not_there_is_a_matter_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        GrowingFile(tmp_path / "absent" / "file")


@pytest.mark.parametrize(("code", "what"), [(errno.ENOSPC, "full"), (errno.EIO, "refused")])
def test_the_disk_s_refusal_has_a_remedy_and_no_path(code: int, what: str) -> None:
    error = disk_refused(OSError(code, "reason", "/secret/path"))
    assert isinstance(error, DiskFull) == (code == errno.ENOSPC)
    assert what in error.what
    assert "secret" not in error.what + error.remedy
