"""The image cache keeps to its quota: the longest unused goes first, and never what an open study uses."""

import os
from pathlib import Path

import pytest

from client.cache_room import CacheRoom
from client.cache_uses import entries, note_use
from client.disk_settings import DiskSettings
from shared.errors import Refusal, WireCode

NOW, DAY = 1_800_000_000.0, 86_400.0
MB = 1_000_000


def entry(cache: Path, name: str, *, days: float, users: tuple[str, ...] = ()) -> Path:
    """One of 1 MB that was used last so many days ago."""
    place = cache / name
    place.mkdir(parents=True)
    (place / "train.npy").write_bytes(bytes(MB))
    for user in users:
        note_use(place, user)
    for path in (*place.iterdir(), place):
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return place


def left(cache: Path, needed: int, *running: str, **limits: float) -> list[str]:
    room = CacheRoom(cache, DiskSettings.model_validate(limits), running=lambda: frozenset(running), clock=lambda: NOW)
    room.make(needed)
    return [place.name for place in entries(cache)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    entry(tmp_path, "new", days=1)
    entry(tmp_path, "running", days=90, users=("a",))
    entry(tmp_path, "old", days=40, users=("b",))
    (tmp_path / ".building").mkdir()
    return tmp_path


def test_without_limits_nothing_goes(cache: Path) -> None:
    assert left(cache, 10**12, "a") == ["new", "old", "running"]


def test_the_longest_unused_goes_first_and_no_more_than_must(cache: Path) -> None:
    assert left(cache, MB, "a", cache_gb_at_most=0.0035) == ["new", "running"]
    assert left(cache, MB, "a", cache_gb_at_most=0.0035) == ["new", "running"]
    assert left(cache, 2 * MB, "a", cache_gb_at_most=0.0035) == ["running"]


def test_what_cannot_fit_is_refused_and_nothing_goes(cache: Path) -> None:
    with pytest.raises(Refusal) as caught:
        left(cache, 3 * MB, "a", cache_gb_at_most=0.0035)
    assert caught.value.wire_code is WireCode.OVER_QUOTA
    assert [place.name for place in entries(cache)] == ["new", "old", "running"]


def test_what_was_not_used_for_days_goes(cache: Path) -> None:
    assert left(cache, 0, "a", cache_days=30) == ["new", "running"]
    assert (cache / ".building").exists()
