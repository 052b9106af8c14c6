"""Instances lie whole, under hashes, for the site's account alone."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pacs_bed import instances

from client.pacs.settings import PULLED
from client.pacs.shelf import Shelf, Unfit
from shared.errors import DiskFull, ResourceError

FILES = instances("CR", "MR")
UID, DATA = next(iter(FILES.items()))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path, free_bytes=0, most_bytes=10_000)
    with made.open():
        yield made


def kept(site: Path) -> list[Path]:
    return [path for path in (site / PULLED).rglob("*") if path.is_file()]


def under_way(site: Path) -> list[Path]:
    return list((site / "pacs/incoming").iterdir())


def test_an_instance_is_kept_whole_and_named_by_a_hash(shelf: Shelf, tmp_path: Path) -> None:
    assert not shelf.has(UID)
    assert shelf.keep(UID, (DATA[i : i + 100] for i in range(0, len(DATA), 100))) == len(DATA)
    (file,) = kept(tmp_path)
    assert shelf.has(UID)
    assert shelf.count() == 1
    assert file.read_bytes() == DATA
    assert UID not in str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "pacs").rglob("*") if p.is_dir()} == {0o700}
    assert under_way(tmp_path) == []


@pytest.mark.parametrize(
    ("uid", "data", "reason"),
    [
        (UID, DATA + bytes(10_000), "too_large"),
        (UID, b"<html>Not here</html>" * 20, "not_dicom"),
        (UID, b"", "not_dicom"),
        (UID, DATA[:128] + b"DICM" + b"\xff" * 400, "not_dicom"),
        (f"{UID}.1", DATA, "another_instance"),
    ],
)
def test_what_is_unfit_leaves_nothing(shelf: Shelf, tmp_path: Path, uid: str, data: bytes, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        shelf.keep(uid, [data])
    assert caught.value.reason == reason
    assert not shelf.has(uid)
    assert kept(tmp_path) == under_way(tmp_path) == []


def test_a_line_that_breaks_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA[:300]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        shelf.keep(UID, broken())
    assert kept(tmp_path) == under_way(tmp_path) == []


def test_an_endless_file_ends_at_the_limit(shelf: Shelf) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    with pytest.raises(Unfit):
        shelf.keep(UID, endless())


def test_what_a_crash_left_goes_and_what_it_finished_stays(tmp_path: Path) -> None:
    first = Shelf(tmp_path, free_bytes=0)
    with first.open():
        first.keep(UID, [DATA])
    (tmp_path / "pacs/incoming/tmp123").write_bytes(DATA[:100])
    second = Shelf(tmp_path, free_bytes=0)
    with second.open():
        assert under_way(tmp_path) == []
        assert second.has(UID)


def test_two_pulls_do_not_meet(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="Another pull"), Shelf(tmp_path, free_bytes=0).open():
        pass


def test_the_disk_keeps_room(tmp_path: Path) -> None:
    full = Shelf(tmp_path, free_bytes=1e18)
    with full.open(), pytest.raises(DiskFull):
        full.keep(UID, [DATA])
