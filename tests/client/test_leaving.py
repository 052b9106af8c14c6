"""A site leaves for good: what is open is told, the agent ends, and the ledger has it; a study is purged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_federation import answer, wardround
from lone_site import START, LoneSite, a_study

from client.backbones import Backbones
from client.cache_uses import note_use, users
from client.leaving import has_left
from client.starting import note_start
from client.stopped import agent_stopped
from shared.canonical import digest
from shared.errors import WireCode


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def leave(site: LoneSite) -> dict[str, Any]:
    with agent_stopped(site.folder):  # beside the agent, whose lock this is
        return answer("site", "leave", "--config", site.folder / "site.toml", "--by", "Ada", "--yes")


def purge(site: LoneSite, *words: str, study: str = "lungs") -> Any:
    site.site.ledger.close()
    done = wardround("site", "purge", study, "--config", site.folder / "site.toml", "--by", "Ada", "--json", *words)
    site.start()
    return done


def cached(site: LoneSite, name: str, *digests: str) -> Path:
    entry = site.folder / "cache" / name
    entry.mkdir(parents=True)
    (entry / "train.npy").write_bytes(bytes(1000))
    for used_by in digests:
        note_use(entry, used_by)
    return entry


def also_open(site: LoneSite, **changes: Any) -> str:
    """Another study here, `hearts`; its digest."""
    store = site.site.studies
    record = store.find("lungs")
    assert record is not None
    study = a_study("hearts", **changes)
    store.save(record.model_copy(update={"open": record.open.model_copy(update={"study": study})}))
    return study.digest()


# ------------------------------------------------------------ leaving


def test_a_site_that_leaves_finishes_what_is_in_hand_and_tells_each_open_study(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    assert leave(site)["open"] == ["lungs"]
    site.finish()
    site.tell(site.coordinator.work(2, previous_digest=digest(START)))
    assert [said.type for said in site.answers] == ["opened", "ready", "refused"]
    assert site.refused() == [WireCode.LEFT] and site.site.studies.active() == []
    note_start(site.site)
    assert [said["by"] for said in site.entries("site_left")] == ["Ada"]


def test_a_site_that_has_left_does_not_start_again(site: LoneSite) -> None:
    leave(site)
    site.site.ledger.close()
    done = wardround("site", "start", "--config", site.folder / "site.toml", "--json")
    assert done.exit_code == 3 and "has left" in json.loads(done.stdout)["error"]["what"]
    site.start()


def test_nobody_leaves_without_a_yes(site: LoneSite) -> None:
    done = wardround("site", "leave", "--config", site.folder / "site.toml", "--by", "Ada")
    assert done.exit_code != 0 and not has_left(site.folder)


# ------------------------------------------------------------ purging


def test_a_closed_study_goes_with_all_that_is_its_own_and_nothing_else(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    site.tell(site.coordinator.close(1))
    digest, other = site.coordinator.study.digest(), also_open(site)
    own, shared = cached(site, "a" * 64, digest, "f" * 64), cached(site, "b" * 64, digest, other)
    before = {path.name for path in site.folder.iterdir()}
    done = purge(site, "--yes")
    said = json.loads(done.stdout)["data"]
    assert said["freed_bytes"] == sum(said["removed"].values()) > 1000 == said["removed"]["cache"]
    assert not (site.folder / "spool" / "lungs").exists() and not own.exists()
    assert shared.exists() and users(shared) == {other}
    assert {path.name for path in site.folder.iterdir()} >= before  # ledger, receipts, openings and lists stay
    (entry,) = site.entries("study_purged")
    assert (entry["study"], entry["by"], entry["bytes"]) == ("lungs", "Ada", said["freed_bytes"])
    site.tell(site.coordinator.open(attempt=2))
    assert site.refused()[-1:] == [WireCode.STATE_LOST]  # it could be asked for a round twice


def test_of_backbones_the_one_that_the_study_brought_goes_alone(site: LoneSite) -> None:
    pinned, backbones = digest(b"weights"), Backbones(site.folder)
    site.open()
    also_open(site, backbone={"sha256": pinned})
    with backbones.arriving(pinned) as part:
        part.write_bytes(b"weights")
    laid = backbones.brought(pinned).with_name(f"{pinned}.safetensors")  # by hospital IT
    laid.write_bytes(b"weights")
    said = json.loads(purge(site, "--yes", "--abandoned", study="hearts").stdout)["data"]
    assert said["removed"]["backbone"] == len(b"weights")
    assert not backbones.brought(pinned).exists()
    assert laid.exists()


def test_an_open_study_goes_only_if_it_is_abandoned(site: LoneSite) -> None:
    site.open()
    done = purge(site, "--yes")
    assert done.exit_code == 7 and "open here" in json.loads(done.stdout)["error"]["what"]
    assert purge(site, "--yes", "--abandoned").exit_code == 0
    assert site.site.studies.active() == []


def test_an_unknown_study_names_the_known_ones(site: LoneSite) -> None:
    site.open()
    done = purge(site, "--yes", study="hearts")
    assert done.exit_code == 3 and "lungs" in json.loads(done.stdout)["error"]["remedy"]


def test_nothing_goes_beside_a_running_agent_or_without_a_yes(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.close(0))
    with agent_stopped(site.folder):
        assert wardround("site", "purge", "lungs", "--config", site.folder / "site.toml", "--yes").exit_code == 8
    assert purge(site).exit_code != 0
    assert site.site.studies.find("lungs").purged is False  # type: ignore[union-attr]
