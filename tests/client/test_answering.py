"""What a site answers to each message: once, through the door, and the same again after a crash."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import START, UPDATE, LoneSite, a_study, opened, trained

from client.answering import WORKER_TRIES
from client.jobs import CloseJob, Failed, OpenJob, Progress, RoundJob, ScoreJob
from client.join import load_enrolment
from server.federation import load_federation
from shared.address import Stage
from shared.amendment import Amendment, Terms, sign_amendment, with_terms
from shared.canonical import digest
from shared.errors import DiskFull, LinkError, Refusal, WireCode, refusing_disk_full
from shared.keys import make_identity_key
from shared.ledger import read_entries, read_lines, verify
from shared.remarks import Remark
from shared.update import pack
from shared.wire import Open, encode

NEXT = START.replace(b"\x00\x00\xa0@", b"\x00\x00\xb0@")  # 5.0 -> 5.5: another model of the same table


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


# ------------------------------------------------------------ the usual course


def test_a_study_from_its_opening_to_its_close(site: LoneSite) -> None:
    say = site.coordinator
    site.open()
    site.tell(say.work(1))
    site.finish()
    site.tell(say.work(2, NEXT, previous_digest=digest(START), receipts=(say.receipt(1),)), model=NEXT)
    site.finish()
    closing = {"address": say.address(Stage.EVALUATE, 3), "receipts": (say.receipt(2),)}
    site.tell(say.work(3, NEXT, previous_digest=digest(NEXT), **closing), model=NEXT)
    site.finish()
    site.tell(say.close(3, receipts=(say.receipt(2),)))
    assert [answer.type for answer in site.answers] == ["opened", "ready", "ready", "ready", "closed"]
    assert [answer.address.round for answer in site.answers] == [0, 1, 2, 3, 3]
    assert site.uploads == [UPDATE, UPDATE]
    assert [entry["round"] for entry in site.entries("receipt")] == [1, 2]
    assert [type(job) for job in site.hands.jobs] == [OpenJob, RoundJob, RoundJob, ScoreJob, CloseJob]
    assert site.site.studies.active() == []
    kinds = [entry.type for entry in read_entries(site.folder / "ledger.jsonl")]
    assert kinds[-4:] == ["study_closed", "head", "release", "head"]  # the first head leaves with the release


def test_the_site_agrees_to_the_contract_that_the_study_implies(site: LoneSite) -> None:
    site.open()
    record = site.site.studies.find("lungs")
    assert site.answers[0].contract_digest == record.contract("north").digest()
    assert site.entries("contract")[0]["contract"] == record.contract("north").digest()
    assert (site.answers[0].patients, site.answers[0].device) == ({"train": 5, "validation": 4, "test": 4}, "cpu")


def test_labels_that_are_not_the_studys_are_said_on_the_console_and_nowhere_else(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    site.answering.hear(opened().model_copy(update={"absent_classes": ("opacity",), "unknown_labels": 120}))
    (said,) = (line for line in site.said if "may not fit" in line)
    assert "no patient to train on is opacity; 120 images have a label that it does not know" in said
    assert f"wardround site data --study FILE --config {site.folder / 'site.toml'}" in said
    assert isinstance(said, Remark)
    assert (said.level, said.about) == ("warning", {"study": "lungs"})
    assert not {"opacity", "120"} & {*str(site.answers[0].model_dump()).split()}


def test_the_closing_trip_sends_figures_and_no_update(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(3, address=site.coordinator.address(Stage.EVALUATE, 3)))
    site.finish()
    ready = site.answers[-1]
    assert (ready.update_digest, ready.update_bytes, ready.uploaded) == (None, 0, False)
    assert [score.split for score in ready.scores] == ["validation", "test"]
    assert site.uploads == []


def test_the_validation_trip_scores_validation_patients_and_test_patients_wait_for_the_chosen_model(
    tmp_path: Path,
) -> None:
    site = LoneSite(tmp_path, study=a_study(selection={"model": "best"}))
    say = site.coordinator
    site.open()
    site.tell(say.work(3, NEXT, address=say.address(Stage.VALIDATE, 3)), model=NEXT)
    site.finish()
    assert [score.split for score in site.answers[-1].scores] == ["validation"]
    site.tell(say.work(4, START, previous_digest=digest(NEXT), address=say.address(Stage.EVALUATE, 4)))
    site.finish()
    assert [score.split for score in site.answers[-1].scores] == ["validation", "test"]
    assert [job.splits for job in site.hands.jobs if isinstance(job, ScoreJob)] == [
        ("validation",),
        ("validation", "test"),
    ]
    for stage, number in ((Stage.VALIDATE, 3), (Stage.EVALUATE, 4)):  # each number was answered, of one model
        other = START if stage is Stage.VALIDATE else NEXT
        site.tell(say.work(number, other, address=say.address(stage, number)), model=other)
    assert site.refused() == [WireCode.MODEL_SWITCHED] * 2
    site.close()


def test_a_foreign_sites_own_model_is_named_in_contract_ledger_and_console(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(sites=("north", "south"), selection={"cross_site": True}))
    say = site.coordinator
    site.open()
    assert site.entries("contract")[0]["own_models"] == "north, south"
    assert any("each site's own model goes to all the others: north, south" in line for line in site.said)
    for number, model in ((3, START), (4, NEXT)):
        before = None if number == 3 else digest(START)
        place = say.address(Stage.VALIDATE, number)
        site.tell(say.work(number, model, previous_digest=before, address=place), model=model)
        site.finish()
    assert [entry.get("own_model_of") for entry in site.entries("model_received")] == ["north", "south"]
    assert [[score.split for score in answer.scores] for answer in site.answers[1:]] == [["validation"]] * 2
    site.close()


def test_without_a_slot_the_update_waits_for_its_grant(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    assert not site.answers[-1].uploaded
    assert site.uploads == []
    site.tell(site.coordinator.grant(1))
    assert site.answers[-1].type == "uploaded"
    assert site.answers[-1].address.stage is Stage.UPLOAD
    assert site.uploads == [UPDATE]


def test_the_receipt_lets_the_update_go_but_not_the_memory_of_the_round(site: LoneSite) -> None:
    say = site.coordinator
    site.open()
    site.tell(say.work(1))
    site.finish()
    site.tell(say.work(2, NEXT, previous_digest=digest(START), receipts=(say.receipt(1),)), model=NEXT)
    assert site.entries("receipt") == [say.receipt(1).model_dump(mode="json")]
    assert not list((site.folder / "spool").rglob("round-000001/update.safetensors"))
    site.tell(say.work(1, NEXT), model=NEXT)
    assert site.refused() == [WireCode.MODEL_SWITCHED]


def test_progress_and_a_result_that_nobody_asked_for_are_no_answers(site: LoneSite) -> None:
    site.answering.hear(Progress(steps=3))
    site.answering.hear(Failed(code=WireCode.INTERNAL))
    assert site.line.sent == []


def test_an_answer_that_is_asked_for_again_tells_the_steps_that_were_taken(tmp_path: Path) -> None:
    by_time = a_study(training={"seconds_per_round": 5, "batch_size": 8})
    site = LoneSite(tmp_path, study=by_time)
    site.open()
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.start()
    site.tell(site.coordinator.work(1))
    first, again = site.answers[-2:]
    assert (again.replayed, again.counts, again.update_digest) == (True, first.counts, first.update_digest)
    assert site.hands.jobs == []
    site.close()


def test_the_workers_progress_is_known_while_it_trains(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    assert site.answering.current.progress is None
    site.answering.hear(Progress(steps=3, planned=20))
    assert site.answering.current.progress == Progress(steps=3, planned=20)
    assert site.answering.current.signed is not None


# ------------------------------------------------------------ again, and after a crash


def test_the_same_work_asked_twice_is_done_once(site: LoneSite) -> None:
    site.open()
    first = site.tell(site.coordinator.work(1))
    again = site.coordinator.work(1, address=site.coordinator.address(Stage.TRAIN, 1, attempt=2))
    site.tell(again)
    site.finish()
    assert len([job for job in site.hands.jobs if isinstance(job, RoundJob)]) == 1
    assert site.line.dropped == [first.id]
    assert [(a.address.attempt, a.replayed) for a in site.answers[1:]] == [(2, False)]


def test_the_same_parcel_handed_over_twice_is_answered_not_dropped(site: LoneSite) -> None:
    site.open()
    parcel = site.tell(site.coordinator.work(1))
    site.answering.receive(parcel)
    site.finish()
    assert site.line.dropped == []
    assert site.line.sent[-1][0] == parcel.id


def test_finished_work_is_sent_again_byte_for_byte_and_said_to_be_a_replay(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    site.start()
    site.coordinator.epoch = 2
    site.tell(site.coordinator.work(1))
    first, again = site.answers[1:]
    assert (first.replayed, again.replayed, again.address.epoch) == (False, True, 2)
    assert first.model_copy(update={"address": again.address, "replayed": True, "ledger": again.ledger}) == again
    assert site.uploads == [UPDATE, UPDATE]
    assert site.hands.jobs == []


def test_work_that_a_crash_cut_off_is_done_anew(site: LoneSite) -> None:
    site.open()
    parcel = site.tell(site.coordinator.work(1))
    (site.hands.jobs[-1].out / "update.safetensors").write_bytes(b"half an upd")
    site.start()
    site.answering.receive(parcel)
    site.finish()
    assert site.uploads == [UPDATE]
    assert not list((site.folder / "spool").rglob("*.partial"))


def test_a_model_that_breaks_off_leaves_nothing_and_is_fetched_again(site: LoneSite) -> None:
    site.open()
    site.line.down = True
    with pytest.raises(LinkError):
        site.tell(site.coordinator.work(1))
    assert site.answering.current is None
    site.line.down = False
    site.tell(site.coordinator.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"


def test_a_worker_that_dies_is_replaced_and_the_work_repeated(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.hands.die()
    site.answering.worker_died()
    site.finish()
    assert site.answers[-1].type == "ready"
    assert site.entries("worker_restarted") == [{"during": "round"}]
    assert len([job for job in site.hands.jobs if isinstance(job, RoundJob)]) == 2


def test_a_worker_that_dies_each_time_is_given_up(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    for _ in range(WORKER_TRIES):
        site.hands.die()
        site.answering.worker_died()
    assert site.refused() == [WireCode.WORKER_CRASHED]
    assert site.answering.current is None


def test_an_idle_worker_that_dies_is_only_noted(site: LoneSite) -> None:
    site.answering.worker_died()
    assert site.entries("worker_restarted") == [{"during": "idle"}]
    assert site.hands.jobs == []


# ------------------------------------------------------------ superseded


def test_a_straggler_is_ended_by_the_work_of_a_later_round(site: LoneSite) -> None:
    say = site.coordinator
    site.open()
    late = site.tell(say.work(1))
    folder = site.hands.jobs[-1].out
    site.tell(say.work(2, NEXT, previous_digest=digest(START)), model=NEXT)
    assert site.line.dropped == [late.id]
    assert not folder.exists()
    assert site.hands.starts == 2
    assert [job.round for job in site.hands.jobs if isinstance(job, RoundJob)] == [1, 2]
    site.finish()
    assert [(answer.type, answer.address.round) for answer in site.answers[1:]] == [("ready", 2)]


def test_a_new_owner_with_another_model_ends_the_work_for_the_old_one(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.coordinator.epoch = 2
    site.tell(site.coordinator.work(1, NEXT), model=NEXT)
    assert site.answering.current is None
    assert site.hands.pid is None


def test_another_studys_work_goes_on_when_one_is_superseded(site: LoneSite) -> None:
    site.open()
    lungs = site.coordinator.study
    site.coordinator.study = a_study("hearts")
    site.open()
    site.tell(site.coordinator.work(1))
    site.coordinator.study = lungs
    site.tell(site.coordinator.work(1))
    site.tell(site.coordinator.work(2, NEXT, previous_digest=digest(START)), model=NEXT)
    assert site.answering.current.message.address.study == "hearts"
    assert site.hands.starts == 1


# ------------------------------------------------------------ a worker that cannot be trusted


def test_a_link_in_the_updates_place_is_not_followed(site: LoneSite, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(UPDATE)
    site.open()
    site.tell(site.coordinator.work(1))
    (site.hands.jobs[-1].out / "update.safetensors").symlink_to(tmp_path / "secret")
    site.answering.hear(trained(site.coordinator.study, digest(START)))
    assert site.refused() == [WireCode.CONTRACT]
    assert site.uploads == []


def test_a_round_without_its_update_is_refused(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.answering.hear(trained(site.coordinator.study, digest(START)))
    assert site.refused() == [WireCode.WORKER_CRASHED]


def test_an_answer_to_another_question_counts_as_a_crash(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    assert not site.answering.hear(opened())
    assert site.entries("worker_restarted") == [{"during": "round"}]
    site.finish()
    assert site.answers[-1].type == "ready"


# ------------------------------------------------------------ a ledger that cannot grow


class FullLedger:
    """A ledger whose disk has no room."""

    count, began, head = 0, 0, "0" * 64

    def append(self, *_: object, **__: object) -> None:
        raise DiskFull("The ledger could not be written.", remedy="Make room.")

    sign_head = append


@contextmanager
def full_ledger(site: LoneSite) -> Iterator[None]:
    whole, door = site.site.ledger, site.site.egress
    for owner, name in ((site.site, "ledger"), (door, "_ledger")):
        object.__setattr__(owner, name, FullLedger())
    yield
    for owner, name in ((site.site, "ledger"), (door, "_ledger")):
        object.__setattr__(owner, name, whole)


def test_a_result_that_cannot_be_written_down_is_kept_for_later(site: LoneSite) -> None:
    site.open()
    parcel = site.tell(site.coordinator.work(1))
    with full_ledger(site):
        site.finish()
    assert site.later == [parcel]
    assert site.answering.current is None
    assert len(site.answers) == 1
    site.answering.receive(parcel)
    assert (site.answers[-1].type, site.uploads) == ("ready", [UPDATE])


def test_a_closing_answer_that_was_given_is_not_taken_back_for_want_of_room(site: LoneSite) -> None:
    site.open()
    door, ledger = site.site.egress, site.site.ledger

    class NoRoomLeft(FullLedger):
        """Room for everything up to the closing release, and not for the head behind it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def append(self, *words: Any, **how: Any) -> Any:
            return ledger.append(*words, **how)

        def sign_head(self, **how: Any) -> Any:
            if len(site.answers) > 1:
                return super().append()
            return ledger.sign_head(**how)

    for owner, name in ((site.site, "ledger"), (door, "_ledger")):
        object.__setattr__(owner, name, NoRoomLeft())
    site.tell(site.coordinator.close(1))
    for owner, name in ((site.site, "ledger"), (door, "_ledger")):
        object.__setattr__(owner, name, ledger)
    assert [answer.type for answer in site.answers] == ["opened", "closed"]


def test_a_message_whose_refusal_cannot_be_written_down_is_taken_up_again(site: LoneSite) -> None:
    with full_ledger(site), pytest.raises(DiskFull):
        site.tell(site.coordinator.work(1))
    assert site.answers == []


# ------------------------------------------------------------ stop and resume


def test_work_in_hand_is_abandoned_when_the_study_closes_and_the_next_study_goes_on(site: LoneSite) -> None:
    say = site.coordinator
    site.open()
    cut_off = site.tell(say.work(1))
    site.tell(say.close(1, reason="stopped"))
    assert site.answers[-1].type == "closed"
    assert site.line.dropped == [cut_off.id]
    assert site.answering.current is None
    assert site.hands.pid is None
    assert not list((site.folder / "spool").rglob("*.partial"))
    say.epoch = 2
    site.open()
    site.tell(say.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"
    assert site.site.studies.active() == ["lungs"]


def test_a_study_that_closes_does_not_end_another_ones_work(site: LoneSite) -> None:
    site.open()
    lungs = site.coordinator.study
    site.coordinator.study = a_study("hearts")
    site.open()
    site.tell(site.coordinator.work(1))
    site.coordinator.study = lungs
    site.tell(site.coordinator.close(1))
    assert site.hands.pid is not None
    site.coordinator.study = a_study("hearts")
    site.finish()
    assert site.answers[-1].type == "ready"


def test_an_update_that_was_not_committed_survives_a_stop(site: LoneSite) -> None:
    """Without it the resumed round would have to do without this site."""
    say = site.coordinator
    site.open()
    site.tell(say.work(1, slot=0))
    site.finish()
    site.tell(say.close(1, reason="stopped"))
    say.epoch = 2
    site.open()
    site.tell(say.work(1))
    assert site.answers[-1].replayed
    assert site.uploads == [UPDATE]


# ------------------------------------------------------------ no


def test_a_message_that_the_coordinator_did_not_sign_is_thrown_away(site: LoneSite) -> None:
    parcel = site.coordinator.parcel(site.coordinator.open(), key=make_identity_key())
    site.answering.receive(parcel)
    assert site.line.sent == []
    assert site.line.dropped == [parcel.id]
    assert site.entries("message_discarded") == [{"code": "trust"}]


def test_another_sites_message_is_thrown_away(site: LoneSite) -> None:
    site.answering.receive(site.coordinator.parcel(site.coordinator.open(), site="north-neighbour"))
    assert site.line.sent == []
    assert len(site.entries("message_discarded")) == 1


def test_another_protocol_is_refused_and_both_numbers_are_said(site: LoneSite) -> None:
    body = encode(site.coordinator.open()).replace(b'"protocol":1', b'"protocol":7')
    site.answering.receive(site.coordinator.parcel(body))
    assert site.refused() == [WireCode.PROTOCOL]
    assert "protocol 7 has come from Wardround" in site.said[-1]


def test_a_replaced_owner_is_not_obeyed(site: LoneSite) -> None:
    site.coordinator.epoch = 5
    site.open()
    site.coordinator.epoch = 4
    for message in (site.coordinator.open(), site.coordinator.work(1), site.coordinator.close(1)):
        site.tell(message)
    assert site.refused() == [WireCode.STALE_EPOCH] * 3
    assert site.hands.jobs[1:] == []


def test_a_study_that_was_not_opened_here_is_refused(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.tell(site.coordinator.grant(1))
    site.tell(site.coordinator.close(1))
    assert site.refused() == [WireCode.UNKNOWN_STUDY] * 3


def test_nothing_is_worked_on_or_sent_in_a_study_that_is_closed_here_until_it_is_opened_anew(site: LoneSite) -> None:
    say = site.coordinator
    site.open()
    site.tell(say.work(1, slot=0))
    site.finish()
    site.tell(say.close(1, reason="stopped"))
    site.tell(say.grant(1))
    site.tell(say.work(1))
    site.tell(say.work(2, NEXT, previous_digest=digest(START)), model=NEXT)
    assert site.refused() == [WireCode.UNKNOWN_STUDY] * 3
    assert "closed here" in site.said[-1]
    assert (site.uploads, site.answering.current) == ([], None)
    site.tell(say.close(1, reason="stopped"))
    assert site.answers[-1].type == "closed"
    site.open()
    site.tell(say.grant(1))
    assert site.uploads == [UPDATE]


def test_work_for_a_study_that_was_changed_afterwards_is_refused(site: LoneSite) -> None:
    site.open()
    site.coordinator.study = a_study(rounds=9)
    site.tell(site.coordinator.work(1))
    assert site.refused() == [WireCode.UNKNOWN_STUDY]


@pytest.mark.parametrize(("stage", "number"), [(Stage.TRAIN, 3), (Stage.TRAIN, 999), (Stage.EVALUATE, 4)])
def test_more_rounds_than_agreed_are_refused_before_anything_is_computed(
    site: LoneSite, stage: Stage, number: int
) -> None:
    site.open()
    site.tell(site.coordinator.work(number, address=site.coordinator.address(stage, number)))
    assert site.refused() == [WireCode.CONTRACT]
    assert site.hands.jobs[1:] == []


BROKEN_MODELS = {
    "not the one announced": START[:-1] + b"\x07",
    "no tensor file": b"not a model",
}


@pytest.mark.parametrize("model", BROKEN_MODELS.values(), ids=BROKEN_MODELS)
def test_an_unsound_model_is_refused(site: LoneSite, model: bytes) -> None:
    site.open()
    site.tell(site.coordinator.work(1, payload_bytes=len(START)), model=model)
    assert site.refused() == [WireCode.MODEL_UNSOUND]


def test_a_model_larger_than_announced_is_refused(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1, payload_bytes=10))
    assert site.refused() == [WireCode.MODEL_UNSOUND]


def test_a_second_model_for_one_round_is_refused(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    site.tell(site.coordinator.work(1, NEXT), model=NEXT)
    site.tell(site.coordinator.work(2, NEXT, previous_digest="f" * 64), model=NEXT)
    assert site.refused() == [WireCode.MODEL_SWITCHED] * 2
    assert site.uploads == [UPDATE]


def test_a_grant_for_an_update_that_is_not_here_is_refused(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.grant(1))
    assert site.refused() == [WireCode.SUPERSEDED]


@pytest.mark.parametrize("code", list(WireCode))
def test_a_failed_job_is_answered_with_its_code_alone(site: LoneSite, code: WireCode) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.answering.hear(Failed(code=code))
    assert site.answers[-1].model_dump(include={"type", "refusal"}) == {"type": "refused", "refusal": code}


def test_an_update_that_breaks_the_contract_is_refused_and_the_agent_goes_on(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish(pack({"w": np.full((2, 3), np.nan, np.float32), "n": np.array(4)}))
    assert site.refused() == [WireCode.CONTRACT]
    assert site.uploads == []
    assert len(site.entries("release_refused")) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_refusal(number: int) -> None:
    with pytest.raises(Refusal) as caught, refusing_disk_full():
        raise OSError(number, "no")
    assert caught.value.wire_code is WireCode.DISK_FULL


def test_other_troubles_of_the_system_are_not_taken_for_a_full_disk() -> None:
    with pytest.raises(PermissionError), refusing_disk_full():
        raise PermissionError(errno.EACCES, "no")


def test_whatever_was_asked_the_ledger_holds(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    site.tell(site.coordinator.work(1, NEXT), model=NEXT)
    site.tell(site.coordinator.close(2))
    public = load_enrolment(site.folder).identity_key.public_key()
    verdict = verify(read_lines(site.folder / "ledger.jsonl"), public_key=public, signer="north")
    assert verdict.ok
    releases = site.entries("release")
    assert [entry["kind"] for entry in releases] == [answer.type for answer in site.answers]
    assert [entry["body_digest"] for entry in releases] == [digest(encode(answer)) for answer in site.answers]


# ------------------------------------------------------------ amendments


def extended(site: LoneSite, *, rounds: int) -> Open:
    """The study with more rounds, by a signed amendment, as the coordinator sends it."""
    launched = site.coordinator.study
    before = Terms.of(launched)
    amendment = Amendment(
        study=launched.name, number=1, original=launched.digest(), previous=launched.digest(),
        before=before, after=before.model_copy(update={"rounds": rounds}),
    )  # fmt: skip
    site.coordinator.study = with_terms(launched, amendment.after)
    sealed = sign_amendment(amendment, key=load_federation(site.place.federation).coordinator_key)
    return site.coordinator.open().model_copy(update={"amendments": (sealed,)})


def test_an_amendment_makes_a_new_contract_and_the_models_seen_stay(site: LoneSite) -> None:
    say, launched = site.coordinator, site.coordinator.study.digest()
    site.open()
    site.tell(say.work(1))
    site.finish()
    site.tell(say.work(3, NEXT, previous_digest=digest(START)), model=NEXT)
    site.tell(extended(site, rounds=3))
    site.finish()
    record = site.site.studies.find("lungs")
    assert site.answers[-1].contract_digest == record.contract("north").digest()
    assert (record.contract("north").rounds, record.chain) == (3, {1: digest(START)})
    assert site.entries("contract")[-1]["original_digest"] == launched
    assert site.hands.jobs[-1] == CloseJob(study_digest=launched)
    site.tell(say.work(2, NEXT, previous_digest=digest(START)), model=NEXT)
    site.finish()
    site.tell(say.work(3, START, previous_digest=digest(NEXT)), model=START)
    site.finish()
    assert [answer.address.round for answer in site.answers if answer.type == "ready"] == [1, 2, 3]
    assert site.refused() == [WireCode.CONTRACT]  # the third round, before the amendment alone


def test_an_open_study_does_not_change_without_an_amendment(site: LoneSite) -> None:
    site.open()
    amended = extended(site, rounds=9)
    site.tell(amended.model_copy(update={"amendments": ()}))
    site.tell(amended.model_copy(update={"amendments": (amended.amendments[0][:-2] + "00",)}))
    assert site.refused() == [WireCode.CONTRACT] * 2
    assert site.site.studies.find("lungs").contract("north").rounds == 2


def test_a_site_that_opens_late_follows_the_amendments_back(site: LoneSite) -> None:
    site.tell(extended(site, rounds=5))
    site.finish()
    assert site.answers[-1].type == "opened"
    assert site.site.studies.find("lungs").contract("north").rounds == 5
