"""What private training costs stands in the ledger before the worker begins, each time that it begins."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lone_site import COUNTS, UPDATE, LoneSite, a_score, a_study

from client.jobs import OpenDone, OpenJob, Place, RoundDone, RoundJob
from client.worker_process import WorkerProcess
from client.workload import RESTART
from shared.address import Stage
from shared.errors import DiskFull, WireCode
from shared.wire import Counts

PRIVATE = a_study(
    model={"norm": "none"},
    privacy={"noise_multiplier": 1.5, "sampling_rate": 0.25, "patients_per_step": 8, "images_per_patient": 3},
)
NOTHING_SAID = RoundDone(counts=Counts(examples=0, patients=0, steps=2), scores=(), seconds={})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=PRIVATE, lifetime_epsilon=1000.0)
    lone.tell(lone.coordinator.open())
    lone.offer(bytes(16))
    place = Place(device="cpu", reason="device = cpu in the configuration", fell_back=False, threads=1)
    lone.answering.hear(OpenDone(patients={}, examples={}, place=place, software={}))
    yield lone
    lone.close()


def finish(site: LoneSite, done: RoundDone = NOTHING_SAID) -> None:
    task = site.answering.current
    assert task is not None and task.workplace is not None
    (task.workplace / "update.safetensors").write_bytes(UPDATE)
    site.answering.hear(done)


def rounds(site: LoneSite) -> list[int]:
    return [entry["round"] for entry in site.entries("privacy_spent")]


def begun(site: LoneSite) -> int:
    return sum(isinstance(job, RoundJob) for job in site.hands.jobs)


class FullLedger:
    """A ledger on a disk without room."""

    def append(self, *_: Any, **__: Any) -> None:
        raise DiskFull("The ledger could not be written.", remedy="Make room.")

    sign_head = append


@contextmanager
def full_ledger(site: LoneSite) -> Iterator[None]:
    """Neither the site nor its door nor its purse can write."""
    whole = site.site.ledger
    places = ((site.site, "ledger"), (site.site.egress, "_ledger"), (site.site.purse, "_ledger"))
    for owner, name in places:
        object.__setattr__(owner, name, FullLedger())
    yield
    for owner, name in places:
        object.__setattr__(owner, name, whole)


def test_the_entry_names_the_mechanism_and_whose_it_is(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    (entry,) = site.entries("privacy_spent")
    assert entry == {
        "study": "lungs",
        "study_digest": PRIVATE.digest(),
        "round": 1,
        "noise_multiplier": 1.5,
        "sampling_rate": 0.25,
        "images_per_patient": 3,
        "steps": 2,
        "clip_norm": 1,
        "delta": 1e-6,
        "lifetime_epsilon": 4,
        "lifetime_delta": 1e-6,
        "budget_mark": entry["budget_mark"],
    }


def test_a_worker_that_ended_trains_anew_and_both_count(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    assert (rounds(site), begun(site)) == ([1], 1)
    site.hands.die()
    site.answering.worker_died()
    assert (rounds(site), begun(site)) == ([1, 1], 2)
    finish(site)
    assert [answer.type for answer in site.answers] == ["opened", "ready"]


def test_a_site_that_ended_in_the_midst_of_a_round_counts_both(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.start()
    site.tell(site.coordinator.work(1))
    assert rounds(site) == [1, 1]


def test_what_is_sent_again_from_the_spool_costs_nothing(site: LoneSite) -> None:
    for attempt in (1, 2):
        place = site.coordinator.address(Stage.TRAIN, 1, attempt=attempt)
        site.tell(site.coordinator.work(1, address=place))
        if attempt == 1:
            finish(site)
            site.start()
    assert [answer.replayed for answer in site.answers[1:]] == [False, True]
    assert site.uploads == [UPDATE, UPDATE]
    assert rounds(site) == [1]


def test_once_a_worker_ran_other_code_than_the_agent_no_round_is_charged(site: LoneSite) -> None:
    babbles = [sys.executable, "-c", 'print(\'{"event": "progress", "steps": 3}\', flush=True); input()']
    site.start(worker=WorkerProcess(site.folder, command=babbles, code="c" * 64))
    for attempt in (1, 2):
        site.tell(site.coordinator.work(1, address=site.coordinator.address(Stage.TRAIN, 1, attempt=attempt)))
        while site.answering.current is not None:
            for event in site.hands.listen(0.2):
                site.answering.hear(event)
    assert site.refused() == [WireCode.SOFTWARE_CHANGED] * 2
    assert RESTART in site.said[-1]
    assert rounds(site) == [1]


def test_without_room_for_the_entry_no_worker_begins(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.hands.die()
    with full_ledger(site):
        site.answering.worker_died()
    assert (rounds(site), begun(site)) == ([1], 1)
    assert site.answering.current is None
    assert len(site.later) == 1  # asked again when there is room


@pytest.mark.parametrize("said", [{"counts": COUNTS}, {"seconds": {"train": 0.5}}, {"scores": None}])
def test_a_worker_that_says_more_is_stopped_at_the_door(site: LoneSite, said: dict[str, Any]) -> None:
    site.tell(site.coordinator.work(1))
    job = site.hands.jobs[-1]
    assert isinstance(job, RoundJob)
    scores = (a_score(PRIVATE, job.model_digest),)
    finish(site, NOTHING_SAID.model_copy(update={"scores": scores} if "scores" in said else said))
    assert site.refused() == [WireCode.CONTRACT]
    assert site.uploads == []


def test_a_site_that_says_counts_at_the_opening_is_stopped_at_the_door(tmp_path: Path) -> None:
    lone = LoneSite(tmp_path, study=PRIVATE, lifetime_epsilon=1000.0)
    lone.offer(bytes(16))
    lone.open()
    assert lone.refused() == [WireCode.CONTRACT]
    lone.close()


def test_a_study_without_privacy_and_a_trip_that_only_scores_spend_nothing(tmp_path: Path, site: LoneSite) -> None:
    site.tell(site.coordinator.work(3, address=site.coordinator.address(Stage.EVALUATE, 3)))
    assert rounds(site) == []
    lone = LoneSite(tmp_path / "plain")
    lone.open()
    lone.tell(lone.coordinator.work(1))
    assert any(isinstance(job, OpenJob) for job in lone.hands.jobs)
    assert lone.entries("privacy_spent") == []
    lone.close()
