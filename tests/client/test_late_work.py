"""Work that is late for its own round answers a later one, once, from the spool or from the worker's hands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lone_site import START, UPDATE, LoneSite, a_study

from client.jobs import RoundJob
from shared.canonical import digest
from shared.errors import WireCode
from shared.wire import Late, Receipt, Work

NEXT = START.replace(b"\x00\x00\xa0@", b"\x00\x00\xb0@")  # 5.0 -> 5.5: another model of the same table
LATE = Late(round=1, model_digest=digest(START))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=a_study(rounds=4, late="next"))
    lone.open()
    yield lone
    lone.close()


def second(site: LoneSite, *, update: bytes | None = UPDATE, **changes: Any) -> Work:
    """The work of round 2, with the word that round 1 closed without this site."""
    say = site.coordinator
    told = Receipt(
        study="lungs", round=1, outcome="late", update_digest=update and digest(update), model_digest="e" * 64
    )
    return say.work(2, NEXT, **({"previous_digest": digest(START), "receipts": (told,)} | changes))


def test_finished_work_is_taken_from_the_spool(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.tell(second(site), model=NEXT)
    last = site.answers[-1]
    assert (last.address.round, last.model_digest, last.late) == (2, digest(NEXT), LATE)
    assert (last.update_digest, last.replayed, last.scores) == (digest(UPDATE), True, ())
    assert site.uploads == [UPDATE]
    assert sum(isinstance(job, RoundJob) for job in site.hands.jobs) == 1
    assert [(entry["round"], entry["outcome"]) for entry in site.entries("receipt")] == [(1, "late")]


def test_work_in_hand_goes_on_and_answers_the_later_round(site: LoneSite) -> None:
    first = site.tell(site.coordinator.work(1))
    site.tell(second(site, update=None), model=NEXT)
    assert (site.line.dropped, site.hands.starts) == ([first.id], 1)
    site.finish()
    last = site.answers[-1]
    assert (last.address.round, last.late, last.replayed) == (2, LATE, False)
    assert site.uploads == [UPDATE]
    assert sum(isinstance(job, RoundJob) for job in site.hands.jobs) == 1


def test_late_work_waits_for_its_slot_and_is_given_again_after_a_restart(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.tell(second(site, slot_bytes=0), model=NEXT)
    assert site.uploads == []
    site.start()
    site.tell(second(site, slot_bytes=0), model=NEXT)
    site.tell(site.coordinator.grant(2))
    assert site.uploads == [UPDATE]
    assert [answer.late for answer in site.answers if answer.type == "ready"] == [None, LATE, LATE]


def test_work_that_is_late_a_second_time_still_says_where_it_comes_from(site: LoneSite) -> None:
    say = site.coordinator
    site.tell(say.work(1))
    site.tell(second(site, update=None), model=NEXT)
    third = {"previous_digest": digest(NEXT), "receipts": (say.receipt(2, outcome="late"),)}
    site.tell(say.work(3, START, **third))
    site.finish()
    assert (site.answers[-1].address.round, site.answers[-1].late) == (3, LATE)


def test_what_was_lost_is_begun_anew_from_the_new_model(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.start()
    site.tell(second(site, update=None), model=NEXT)
    site.finish()
    assert (site.answers[-1].late, site.answers[-1].model_digest) == (None, digest(NEXT))


def test_a_model_that_does_not_follow_is_refused_with_late_work_too(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.tell(second(site, previous_digest="f" * 64), model=NEXT)
    assert site.refused() == [WireCode.MODEL_SWITCHED]
    assert site.uploads == []


def test_where_late_work_is_dropped_the_new_round_is_worked_on(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.open()
    site.tell(site.coordinator.work(1))
    site.tell(second(site, update=None), model=NEXT)
    site.finish()
    assert (site.answers[-1].address.round, site.answers[-1].late) == (2, None)
    site.close()
