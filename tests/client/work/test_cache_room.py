"""The image cache keeps to its quota: the longest unused goes first, and never what an open study uses."""

import os
from pathlib import Path

import pytest
import tiny_federation

from client.cache_uses import entries, note_use, users
from client.disk_settings import DiskSettings
from client.imaging.cache import prepare
from client.work.cache_room import CacheRoom
from shared.errors import Refusal, WireCode
from shared.images import ImageSpec
from shared.study import TaskSpec

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
    room = CacheRoom(
        cache, DiskSettings.model_validate(limits), user="c", running=lambda: frozenset(running), clock=lambda: NOW
    )
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


def test_what_is_decoded_for_a_study_is_noted_and_refused_beyond_the_quota(tmp_path: Path) -> None:
    data = tiny_federation.images(tmp_path, ["north"])["north"]
    task, images = TaskSpec(classes=("opacity",)), ImageSpec(size_px=28)

    def prepared(user: str, **limits: float) -> None:
        room = CacheRoom(
            tmp_path / "cache",
            DiskSettings.model_validate(limits),
            user=user,
            running=frozenset,
            clock=lambda: NOW,
        )
        prepare(data, task=task, images=images, salt=bytes(32), base=tmp_path, cache=tmp_path / "cache", room=room)

    with pytest.raises(Refusal) as caught:
        prepared("a", cache_gb_at_most=1e-6)
    assert caught.value.wire_code is WireCode.OVER_QUOTA and entries(tmp_path / "cache") == []
    prepared("a", cache_gb_at_most=1)
    prepared("b", cache_gb_at_most=1)
    (made,) = entries(tmp_path / "cache")
    assert users(made) == {"a", "b"}


def test_a_study_that_is_only_tried_leaves_no_note(tmp_path: Path) -> None:
    place = entry(tmp_path, "new", days=1)
    for user in (None, "c"):
        room = CacheRoom(tmp_path, DiskSettings(), user=user, running=frozenset, clock=lambda: NOW)
        room.note_use("new")
        assert users(place) == ({user} if user else set())
