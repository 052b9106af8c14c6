"""A rehearsal at a site: all of a round's work, and then nothing of it is left, here or anywhere else.

The worker is in the test's hands; what a real one does is in `test_rehearsed_work.py`.
"""

import errno
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import START, TENSORS, TERMS, UPDATE, LoneSite, a_study, trained

from client.answering import WORKER_TRIES
from client.jobs import Failed, RehearseDone, RehearseJob, RoundJob
from client.join import load_enrolment
from client.rehearsal_limit import MOST, refuse_beyond_limit
from client.site import LEDGER_FILE
from shared.address import Stage
from shared.canonical import digest
from shared.errors import DiskFull, LinkError, Refusal, WireCode
from shared.ledger import read_lines, verify
from shared.rehearsal import Check, Code
from shared.rehearsal_contract import RehearsalContract, rehearsal_contract
from shared.survey import SPLITS, Survey
from shared.update import pack
from shared.wire import Closed, Opened, Ready, Refused, Rehearse, Rehearsed, Uploaded

STUDY = a_study("lungs-rehearsal")
WELL = dict.fromkeys((Check.VERSION, Check.DEVICE, Check.IMAGES, Check.MEMORY, Check.WORK, Check.DISK), Code.PASS)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=STUDY)
    yield lone
    lone.close()


def question(site: LoneSite, **changes: Any) -> Rehearse:
    fields: dict[str, Any] = {
        "address": site.coordinator.address(Stage.REHEARSE, 0),
        "study": site.coordinator.study,
        "tensors": TENSORS,
        "model_digest": digest(START),
        "payload_bytes": len(START),
        "sent_at": time.time(),
    }
    return Rehearse(**(fields | changes))


def done(site: LoneSite, update: bytes | None = UPDATE, **changes: Any) -> None:
    """The worker has done its part, and all was well unless `changes` say otherwise."""
    task = site.answering.current
    assert task is not None and isinstance(task.job, RehearseJob)
    if update is not None:
        (task.job.out / "update.safetensors").write_bytes(update)
    fields: dict[str, Any] = {"findings": WELL, "worked": trained(STUDY, digest(START)), "work_s": 12.34}
    site.answering.hear(RehearseDone(**(fields | changes)))


def findings(site: LoneSite) -> dict[str, str]:
    """The findings of the last answer, `pass` left out."""
    return {c.value: code.value for c, code in site.answers[-1].findings.items() if code is not Code.PASS}


def spotless(site: LoneSite) -> None:
    """Nothing of a rehearsal is kept, and no byte of an update left."""
    assert list((site.folder / "spool").iterdir()) == []
    assert list((site.folder / "state").iterdir()) == []
    assert site.site.studies.active() == []
    assert site.uploads == []
    assert site.answering.current is None


def test_all_is_well_and_nothing_is_left(site: LoneSite) -> None:
    site.tell(question(site))
    done(site)
    answer = site.answers[-1]
    assert isinstance(answer, Rehearsed)
    assert answer.findings == dict.fromkeys(Check, Code.PASS)
    assert (answer.work_s, answer.contract_digest) == (12.0, rehearsal_contract(STUDY, site="north").digest())
    assert answer.travel_s is not None
    spotless(site)


def test_the_ledger_and_the_console_say_what_was_said(site: LoneSite) -> None:
    site.tell(question(site))
    done(site, findings=WELL | {Check.IMAGES: Code.ONE_CLASS}, said="The label table is short.")
    (release,) = site.entries("release")
    assert (release["kind"], release["findings"]["images"], release["update_digest"]) == (
        "rehearsed",
        "one_class",
        None,
    )
    assert release["contract"] == site.entries("rehearsal")[0]["contract"]
    assert any("images: WARN. All training images of the site have the same label." in line for line in site.said)
    assert "Rehearsal: The label table is short." in site.said
    public = load_enrolment(site.folder).identity_key.public_key()
    assert verify(read_lines(site.folder / "ledger.jsonl"), public_key=public, signer="north").ok


def test_what_the_worker_finds_ends_it_and_no_time_is_told(site: LoneSite) -> None:
    site.tell(question(site))
    done(site, None, findings={Check.DEVICE: Code.PASS, Check.IMAGES: Code.NOT_FOUND}, worked=None, work_s=None)
    assert findings(site) == {"images": "not_found"}
    assert Check.CONTRACT not in site.answers[-1].findings
    assert site.answers[-1].work_s is None
    spotless(site)


NAN = pack({"w": np.full((2, 3), np.nan, np.float32), "n": np.array(4, np.int64)})
OTHER = pack({"w": np.zeros(2, np.float32)})


@pytest.mark.parametrize(
    ("update", "code"),
    [(NAN, "not_finite"), (OTHER, "not_as_agreed"), (bytes(10**6), "not_as_agreed")],
    ids=["not finite", "other tensors", "too large"],
)
def test_an_update_that_the_door_would_not_let_out(site: LoneSite, update: bytes, code: str) -> None:
    site.tell(question(site))
    done(site, update)
    assert findings(site) == {"contract": code}
    assert any("Nothing was released" in line for line in site.said)
    spotless(site)


def test_an_update_that_is_not_there_is_a_crash(site: LoneSite) -> None:
    site.tell(question(site))
    done(site, None)
    assert findings(site) == {"work": "crashed"}


def test_a_study_that_scores_needs_no_update(tmp_path: Path) -> None:
    scoring = a_study(
        STUDY.name, study={"name": STUDY.name, "kind": "evaluate"}, model={"start_sha256": "0" * 64}, training=None
    )
    site = LoneSite(tmp_path, study=scoring)
    site.tell(question(site))
    done(site, None)
    assert site.answers[-1].findings == dict.fromkeys(Check, Code.PASS)
    spotless(site)
    site.close()


def test_a_line_that_breaks_leaves_nothing_and_the_question_is_taken_up_again(site: LoneSite) -> None:
    site.line.down = True
    parcel = site.coordinator.parcel(question(site))
    site.line.payloads[parcel.id] = START
    for _ in range(2):
        with pytest.raises(LinkError):
            site.answering.receive(parcel)
    spotless(site)
    assert site.entries("rehearsal") == []
    site.line.down = False
    site.answering.receive(parcel)
    done(site)
    assert site.answers[-1].findings == dict.fromkeys(Check, Code.PASS)


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (WireCode.OUT_OF_MEMORY, {"memory": "out_of_memory"}),
        (WireCode.DISK_FULL, {"disk": "no_room"}),
        (WireCode.INTERNAL, {"work": "failed"}),
    ],
)
def test_a_failed_job_is_a_finding_and_no_refusal(site: LoneSite, failure: WireCode, found: dict[str, str]) -> None:
    site.tell(question(site))
    site.answering.hear(Failed(code=failure))
    assert findings(site) == found
    spotless(site)


def test_a_worker_that_dies_each_time_is_a_finding(site: LoneSite) -> None:
    site.tell(question(site))
    for _ in range(WORKER_TRIES):
        site.hands.die()
        site.answering.worker_died()
    assert findings(site) == {"work": "crashed"}
    spotless(site)


def test_a_damaged_model_is_a_finding(site: LoneSite) -> None:
    site.tell(question(site), model=START[:-1] + b"\x07")
    assert findings(site) == {"work": "model_unsound"}
    site.tell(question(site, payload_bytes=3))
    assert findings(site) == {"work": "model_unsound"}
    spotless(site)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "no_room"), (errno.EACCES, "not_writable")])
def test_a_disk_that_refuses_the_model_is_a_finding(site: LoneSite, number: int, code: str) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number))

    site.line.fetch = refuse  # type: ignore[method-assign]
    site.tell(question(site))
    assert findings(site) == {"disk": code}
    spotless(site)


def test_a_ledger_without_room_leaves_no_model_behind(site: LoneSite, monkeypatch: pytest.MonkeyPatch) -> None:
    append = site.site.ledger.append

    def full(entry_type: str, data: Any, **how: Any) -> Any:
        if entry_type == "rehearsal":
            raise DiskFull("The ledger could not be written.", remedy="Make room.")
        return append(entry_type, data, **how)

    monkeypatch.setattr(site.site.ledger, "append", full)
    site.tell(question(site))
    assert site.refused() == [WireCode.DISK_FULL]
    spotless(site)


@pytest.mark.parametrize(
    ("sent_in_s", "offset_s", "found"),
    [
        (-900.0, 0.0, {}),  # it waited for this site
        (4.0, 0.0, {}),
        (600.0, 0.0, {"clock": "clock_behind"}),
        (0.0, 3600.0, {"clock": "clock_behind"}),
        (0.0, -8.0, {"clock": "clock_ahead"}),
    ],
)
def test_a_clock_that_is_off(site: LoneSite, sent_in_s: float, offset_s: float, found: dict[str, str]) -> None:
    site.line.clock_offset_s = offset_s
    site.tell(question(site, sent_at=time.time() + sent_in_s))
    done(site)
    assert findings(site) == found


# ------------------------------------------------------------ how many


def ask_again(site: LoneSite, number: int) -> None:
    site.coordinator.study = a_study(f"lungs-rehearsal-{number}")
    site.tell(question(site))


def test_a_site_answers_so_many_rehearsals_in_a_day_whatever_their_names(site: LoneSite) -> None:
    for number in range(MOST):
        ask_again(site, number)
        done(site)
    site.start()  # a restart forgets none
    ask_again(site, MOST)
    assert site.refused() == [WireCode.TOO_OFTEN]
    assert len(site.entries("rehearsal")) == MOST
    assert f"Ask the coordinator why there were {MOST} in 24 hours" in site.said[-1]
    spotless(site)
    at = datetime.fromisoformat(site.site.now())
    with pytest.raises(Refusal):
        refuse_beyond_limit(site.folder / LEDGER_FILE, now=(at + timedelta(hours=23)).isoformat())
    refuse_beyond_limit(site.folder / LEDGER_FILE, now=(at + timedelta(hours=25)).isoformat())


# ------------------------------------------------------------ again, and before its time


def test_a_question_that_is_asked_again_waits_for_the_work_in_hand(site: LoneSite) -> None:
    first = site.tell(question(site))
    site.tell(question(site, address=site.coordinator.address(Stage.REHEARSE, 0, attempt=2)))
    done(site)
    assert site.line.dropped == [first.id]
    assert [answer.address.attempt for answer in site.answers] == [2]
    assert len(site.hands.jobs) == 1
    spotless(site)


def test_a_crash_of_the_agent_begins_it_anew(site: LoneSite) -> None:
    parcel = site.tell(question(site))
    site.start()
    site.answering.receive(parcel)
    done(site)
    assert [type(answer) for answer in site.answers] == [Rehearsed]
    spotless(site)


def test_a_rehearsal_that_is_ended_leaves_nothing(site: LoneSite) -> None:
    parcel = site.tell(question(site))
    site.tell(site.coordinator.close(0, reason="stopped"))
    assert [type(answer) for answer in site.answers] == [Closed]
    assert site.line.dropped == [parcel.id]
    assert site.hands.pid is None
    assert site.entries("rehearsal_ended") == [{"study": "lungs-rehearsal", "reason": "stopped"}]
    spotless(site)
    site.tell(site.coordinator.close(0, reason="stopped"))
    assert site.refused() == [WireCode.UNKNOWN_STUDY]


def test_a_study_that_is_open_here_goes_on(site: LoneSite) -> None:
    site.coordinator.study = a_study("hearts")
    site.open()
    site.tell(site.coordinator.work(1))
    site.coordinator.study = STUDY
    site.tell(question(site))
    assert isinstance(site.hands.jobs[-1], RoundJob)  # first come, first served
    site.coordinator.study = a_study("hearts")
    site.finish()
    done(site)
    assert [answer.type for answer in site.answers] == ["opened", "ready", "rehearsed"]
    assert site.site.studies.active() == ["hearts"]
    assert (site.folder / "spool" / "hearts" / "round-000001" / "update.safetensors").exists()


def test_a_study_of_that_name_is_not_touched(site: LoneSite) -> None:
    site.open()
    site.tell(question(site))
    site.tell(question(site, study=a_study("other")))
    assert site.refused() == [WireCode.CONTRACT] * 2


# ------------------------------------------------------------ the door


def refused(site: LoneSite, message: Any, payload: Path | None = None) -> str:
    """Offer something at the door under the contract of a rehearsal; the rule that the ledger then names."""
    contract = rehearsal_contract(STUDY, site="north")
    with pytest.raises(Refusal) as caught:
        site.site.egress.release(message, contract=contract, payload=payload)
    assert caught.value.wire_code is WireCode.CONTRACT
    assert site.entries("release") == []
    return str(site.entries("release_refused")[-1]["rule"])


def said(site: LoneSite, **changes: Any) -> Rehearsed:
    contract = rehearsal_contract(STUDY, site="north").digest()
    place = site.coordinator.address(Stage.REHEARSE, 0)
    return Rehearsed(address=place, contract_digest=contract, findings={}).model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [{"work_s": 12.34}, {"note": "Mustermann"}, {"findings": {Check.IMAGES: "7 patients"}}, {"patients": {"train": 7}}],
)
def test_a_word_more_than_agreed_is_not_let_out(site: LoneSite, changes: dict[str, Any]) -> None:
    assert "codes and two coarse durations" in refused(site, said(site, **changes))


def test_no_update_is_let_out_beside_it(site: LoneSite, tmp_path: Path) -> None:
    update = tmp_path / "update.safetensors"
    update.write_bytes(UPDATE)
    assert "larger than agreed" in refused(site, said(site), update)
    update.write_bytes(b"")
    assert "may carry an update" in refused(site, said(site), update)


def test_no_other_answer_is_let_out(site: LoneSite) -> None:
    place = site.coordinator.address(Stage.REHEARSE, 0)
    digests = {"update_digest": digest(UPDATE), "update_bytes": len(UPDATE)}
    counts: Any = dict.fromkeys(("train", "validation", "test"), 7)
    opened = Opened(
        address=place, contract_digest="0" * 64, patients=counts, examples=counts, device="cpu",
        fell_back=False, threads=1, software={}, terms=TERMS,
    )  # fmt: skip
    ready = Ready(
        address=place, model_digest=digest(START), uploaded=False, replayed=False,
        counts=trained(STUDY, digest(START)).counts, scores=(), seconds={}, **digests,
    )  # fmt: skip
    for message in (opened, ready, Uploaded(address=place, **digests)):
        assert "not sent at this stage" in refused(site, message)
    assert "beyond the agreed number" in refused(
        site, ready.model_copy(update={"address": site.coordinator.address(Stage.TRAIN, 1)})
    )


def test_a_study_in_which_nothing_is_rehearsed_lets_no_rehearsal_out(site: LoneSite) -> None:
    site.open()
    record = site.site.studies.find("lungs-rehearsal")
    assert record is not None and not isinstance(record.contract("north"), RehearsalContract)
    with pytest.raises(Refusal):
        site.site.egress.release(said(site), contract=record.contract("north"))


def test_a_study_that_trains_privately_is_not_rehearsed_whoever_asks(site: LoneSite) -> None:
    private = {"noise_multiplier": 1.5, "sampling_rate": 0.25, "patients_per_step": 8}
    site.tell(question(site, study=a_study("lungs-rehearsal", model={"norm": "none"}, privacy=private)))
    assert isinstance(site.answers[-1], Refused)
    assert site.answers[-1].refusal is WireCode.CONTRACT
    assert site.hands.jobs == []
    assert site.entries("rehearsal") == site.entries("privacy_spent") == []
    assert any("trains privately is not rehearsed" in line for line in site.said)
    spotless(site)


def test_the_worker_is_not_believed_about_the_door(site: LoneSite) -> None:
    site.tell(question(site))
    done(site, NAN, findings=WELL | {Check.CONTRACT: Code.PASS, Check.CLOCK: Code.CLOCK_AHEAD})
    assert findings(site) == {"contract": "not_finite"}


# ------------------------------------------------------------ a survey


def counts(**changes: Any) -> Survey:
    parts = {name: {"patients": 40, "classes": {"opacity": 25, "negative": 15}} for name in SPLITS}
    parts["test"] = {"patients": 30, "classes": {"opacity": 27, "negative": 3}}
    fields = {"found": 130, "used": 110, "set_aside": {"duplicate": 20}, "vendors": {"ge": 110}, "missing": {}}
    return Survey.model_validate(fields | {"splits": parts} | changes)


def test_a_survey_leaves_through_the_door_without_its_small_cells(site: LoneSite) -> None:
    site.set_policy(smallest_cell=11)
    site.tell(question(site, survey=True))
    done(site, survey=counts())
    told = site.answers[-1].survey
    assert told.splits["train"].classes == {"opacity": 25, "negative": 15}
    assert told.splits["test"].classes == {"opacity": None, "negative": None}
    assert (told.splits["train"].patients, told.splits["test"].patients) == (40, None)
    (release,) = site.entries("release")
    assert release["tells"] == ["survey"]
    assert release["survey"] == told.model_dump(mode="json")
    assert any("told counts" in line for line in site.said)


def test_what_is_not_asked_is_not_told(site: LoneSite) -> None:
    site.tell(question(site))
    done(site, survey=counts())
    assert site.answers[-1].survey is None
    assert "survey" not in site.entries("release")[0]


def test_a_policy_may_forbid_it(site: LoneSite) -> None:
    site.set_policy(counts_may_be_told=False)
    site.tell(question(site, survey=True))
    assert site.refused() == [WireCode.POLICY]
    assert site.answers[-1].rule == "counts_may_be_told"


@pytest.mark.parametrize(("asked", "rule"), [(False, "no survey was agreed"), (True, "another column")])
def test_no_other_count_is_let_out(site: LoneSite, asked: bool, rule: str) -> None:
    survey = counts(missing={"income": 40})
    contract = rehearsal_contract(STUDY, site="north", survey=asked)
    answer = said(site, survey=survey, contract_digest=contract.digest())
    with pytest.raises(Refusal) as caught:
        site.site.egress.release(answer, contract=contract)
    assert rule in caught.value.remedy
