"""What is kept for long enough goes; what an open study needs, and what proves anything, stays."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from lone_site import LoneSite

from client.cache_uses import note_use
from client.disk_settings import DiskSettings
from client.retention import DAY_S, Retention, Went, standing, standing_in_words, sweep
from client.study_store import StudyStore

NOW = 1_900_000_000.0


@pytest.fixture
def site(tmp_path: Path) -> LoneSite:
    """A site with a study open, one answered round and what else lies in a spool and a cache."""
    lone = LoneSite(tmp_path)
    lone.open()
    study = lone.folder / "spool" / lone.coordinator.study.name
    for name in ("round-000001/ready.json", "round-000001/drawn.json", "round-000001/update.safetensors"):
        _write(study / name)
    for name in ("round-000001/state.safetensors", "round-000002.x.partial/incoming.safetensors", "seen-000001.x"):
        _write(study / name)
    _write(lone.folder / "cache" / "unused" / "train.npy")
    _write(lone.folder / "cache" / "used" / "train.npy")
    note_use(lone.folder / "cache" / "used", lone.coordinator.study.digest())
    for path in (lone.folder / "cache").rglob("*"):
        os.utime(path, (NOW - 40 * DAY_S, NOW - 40 * DAY_S))
    return lone


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)


def close(site: LoneSite, *, days: float) -> None:
    """So many days before `NOW`."""
    studies = site.site.studies
    record = studies.find(site.coordinator.study.name)
    assert record is not None
    studies.save(record.model_copy(update={"closed": True}))
    path = site.folder / "state" / f"{site.coordinator.study.name}.json"
    os.utime(path, (NOW - days * DAY_S, NOW - days * DAY_S))


def left(site: LoneSite) -> list[str]:
    places = (site.folder / "spool", site.folder / "cache")
    return sorted(
        str(path.relative_to(site.folder)) for place in places for path in place.rglob("[!.]*") if path.is_file()
    )


def swept(site: LoneSite, **limits: int) -> Went:
    return sweep(site.folder, DiskSettings(**limits), StudyStore(site.folder / "state"), now=NOW)


def test_an_open_study_loses_nothing_and_what_nobody_used_goes(site: LoneSite) -> None:
    before = left(site)
    assert swept(site) == Went(0, 0) and left(site) == before
    assert swept(site, spool_days=1, cache_days=30) == Went(0, 100)
    assert left(site) == [path for path in before if "unused" not in path]
    assert swept(site, spool_days=1, cache_days=30) == Went(0, 0)


def test_a_closed_study_keeps_its_records_and_nothing_large(site: LoneSite) -> None:
    close(site, days=31)
    evidence = {path: path.read_bytes() for path in (site.folder / "ledger.jsonl", *site.folder.glob("openings/*"))}
    assert swept(site, spool_days=32) == Went(0, 0)
    assert swept(site, spool_days=30) == Went(300, 0)
    kept = ["round-000001/drawn.json", "round-000001/ready.json", "seen-000001.x"]
    assert [path for path in left(site) if path.startswith("spool")] == [
        f"spool/{site.coordinator.study.name}/{n}" for n in kept
    ]
    assert evidence == {path: path.read_bytes() for path in evidence}
    assert swept(site, cache_days=30) == Went(0, 200)


def test_the_agent_looks_once_a_day_and_with_nothing_in_hand(site: LoneSite) -> None:
    close(site, days=31)
    clock, idle, said = [0.0], [False], []
    settings = site.site.settings.model_copy(update={"disk": DiskSettings(spool_days=30)})
    object.__setattr__(site.site, "settings", settings)
    object.__setattr__(site.site, "say", said.append)
    retention = Retention(site.site, idle=lambda: idle[0], clock=lambda: clock[0])
    retention.turn(NOW)
    assert not said
    idle[0] = True
    retention.turn(NOW)
    assert said == ["By [disk] of site.toml 300 bytes of finished work and 0 of decoded images went."]
    _write(site.folder / "spool" / site.coordinator.study.name / "round-000001" / "update.safetensors")
    retention.turn(NOW)
    clock[0] += DAY_S
    assert len(said) == 1
    retention.turn(NOW)
    assert len(said) == 2


def test_what_stays_is_told(site: LoneSite) -> None:
    found = standing(site.folder, DiskSettings(spool_days=30))
    assert found == {"spool_bytes": found["spool_bytes"], "cache_bytes": 200, "spool_days": 30, "cache_days": None}
    assert standing_in_words(found) == {
        "spool": "0.00 GB; finished work goes 30 days after its study's end",
        "cache": "0.00 GB; nothing goes by age",
    }


@pytest.mark.parametrize("verb", ["unlink", "rmdir"])
def test_what_goes_by_another_hand_meanwhile_ends_nothing(
    site: LoneSite, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Whatever the sweep has listed, somebody else removes just before it does."""
    close(site, days=31)
    remove = getattr(os, verb)

    def too_late(*path: Any, **where: Any) -> None:
        remove(*path, **where)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with monkeypatch.context() as racing:
        racing.setattr(f"os.{verb}", too_late)
        swept(site, spool_days=30, cache_days=30)
    swept(site, spool_days=30, cache_days=30)
    assert {Path(path).name for path in left(site)} == {"drawn.json", "ready.json", "seen-000001.x"}


def test_a_record_that_is_no_longer_there_keeps_what_the_study_left(site: LoneSite) -> None:
    close(site, days=31)
    before, studies = left(site), site.site.studies
    (site.folder / "state" / f"{site.coordinator.study.name}.json").unlink()
    assert sweep(site.folder, DiskSettings(spool_days=30), studies, now=NOW) == Went(0, 0)
    assert left(site) == before


def test_a_disk_that_refuses_keeps_it_and_ends_nothing(site: LoneSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    entry = site.folder / "cache" / "unused"
    with monkeypatch.context() as refusing:
        refusing.setattr("os.unlink", busy)
        refusing.setattr("os.rmdir", busy)
        assert swept(site, cache_days=30).cache == 0
    assert (entry / "train.npy").is_file()
    assert swept(site, cache_days=30).cache == 100
    assert not entry.exists()
