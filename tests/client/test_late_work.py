"""Work that is late for its own round answers a later one, once, from the spool or from the worker's hands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import START, UPDATE, LoneSite, a_study

from client.jobs import RoundJob
from shared.canonical import digest
from shared.errors import WireCode
from shared.ledger import read_entries
from shared.receipt import Receipt
from shared.study import Study
from shared.update import pack
from shared.wire import Late, Work

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
    told = say.receipt(1, outcome="late", update=update)
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


# ------------------------------------------------------------ many rounds pass


def model(number: int) -> bytes:
    """The model that a round starts from."""
    return START if number == 1 else pack({"w": np.full((2, 3), float(number), np.float32), "n": np.array(3, np.int64)})


def later(site: LoneSite, number: int, *receipts: Receipt, slot: int = 10**6, counted: int = 0) -> Work:
    """The work of a round whose predecessors closed without this site."""
    before = digest(model(number - 1))
    return site.coordinator.work(
        number, model(number), slot=slot, previous_digest=before, receipts=receipts, counted_round=counted
    )


def without_digest(site: LoneSite, number: int) -> Receipt:
    return site.coordinator.receipt(number, outcome="late", update=None)


@pytest.fixture
def buffered(tmp_path: Path) -> Iterator[LoneSite]:
    study = Study.model_validate(a_study().model_dump() | {"rounds": {"count": 500, "buffer": 2}})
    lone = LoneSite(tmp_path, study=study)
    lone.open()
    yield lone
    lone.close()


def test_ten_rounds_pass_over_one_piece_of_work(buffered: LoneSite) -> None:
    """It is not interrupted, no model is fetched meanwhile, and neither console, ledger nor spool fills up."""
    site = buffered
    fetched = []
    fetch = site.line.fetch
    site.line.fetch = lambda parcel, into, limit: (fetched.append(parcel.id), fetch(parcel, into, limit=limit))[1]
    asked = [site.tell(site.coordinator.work(1)).id]
    entries = len(list(read_entries(site.folder / "ledger.jsonl")))
    files = sorted(path.name for path in (site.folder / "spool").rglob("*"))
    for number in range(2, 12):
        asked.append(site.tell(later(site, number, without_digest(site, number - 1)), model=model(number)).id)
    assert (site.line.dropped, fetched, site.hands.starts) == (asked[:-1], asked[:1], 1)
    assert len(list(read_entries(site.folder / "ledger.jsonl"))) == entries
    assert sorted(path.name for path in (site.folder / "spool").rglob("*")) == files
    assert [line for line in site.said if "closed without" in line] == [
        "Round 1 of lungs closed without this site; its work goes on and counts when it is done."
    ]
    assert site.answering.current is not None
    assert site.answering.current.round == 1
    site.finish()
    (answer,) = [answer for answer in site.answers if answer.type == "ready"]
    assert (answer.address.round, answer.late) == (11, LATE)
    told = site.coordinator.receipt(11)
    site.tell(later(site, 12, told, counted=11), model=model(12))
    assert [(entry["round"], entry["outcome"]) for entry in site.entries("receipt")] == [(11, "counted")]
    assert sum(isinstance(job, RoundJob) for job in site.hands.jobs) == 2
    updates = list((site.folder / "spool").rglob("update.safetensors"))
    assert updates == []


def test_work_finished_before_rounds_that_the_site_never_heard_of_is_given_all_the_same(buffered: LoneSite) -> None:
    site = buffered
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.tell(later(site, 200, without_digest(site, 199)), model=model(200))
    answer = site.answers[-1]
    assert (answer.address.round, answer.late, answer.replayed) == (200, LATE, True)
    assert site.uploads == [UPDATE]


def test_what_has_counted_or_was_refused_is_not_given_as_late_work(buffered: LoneSite) -> None:
    site, say = buffered, buffered.coordinator
    site.tell(say.work(1, slot=0))
    site.finish()
    site.tell(later(site, 3, without_digest(site, 2), counted=1), model=model(3))
    site.finish(other := pack({"w": np.ones((2, 3), np.float32), "n": np.array(4, np.int64)}))
    assert (site.answers[-1].address.round, site.answers[-1].late) == (3, None)
    refused = say.receipt(3, outcome="refused", update=other)
    site.tell(later(site, 5, refused, without_digest(site, 4), counted=1), model=model(5))
    site.finish()
    assert (site.answers[-1].address.round, site.answers[-1].late) == (5, None)


def test_a_study_that_is_opened_again_and_again_over_long_work_is_opened_once_after_it(buffered: LoneSite) -> None:
    site = buffered
    site.tell(site.coordinator.work(1))
    opens = [site.tell(site.coordinator.open(attempt=attempt)).id for attempt in (1, 2, 3)]
    assert site.line.dropped == opens[:2]
    site.tell(later(site, 2, without_digest(site, 1)), model=model(2))
    site.finish()
    site.finish()
    assert site.answering.current is None
    assert [answer.type for answer in site.answers] == ["opened", "ready", "opened"]
    assert site.answers[-1].address.attempt == 3
