"""One stage against sites that leave, forget or cannot be reached: the others never wait for them."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import TERMS, a_study

from client.join import join, load_enrolment
from server.amending import amend, take_up
from server.arrival import Arrival, Unreachable
from server.checkpoint import Checkpoints
from server.conductor import Conductor
from server.desk import Desk
from server.federation import Federation, LiveRoster, create_federation, load_federation
from server.journal import Journal, read_history, read_records
from server.membership.enrolment import admit, invite, revoke
from server.owner import claim
from server.pulse import Pulse
from server.record import Record
from server.records import (
    EpochClaimed,
    SiteLost,
    SiteOpened,
    SiteScored,
    StudyAmended,
    StudyFinished,
    StudyPaused,
    StudyStarted,
)
from server.requests import PauseAsked
from server.rounds import Phase, Round
from server.spool import UpdateSpool
from server.stage import StageRun
from server.study_folder import Request, StudyFolder, StudyState
from shared.address import Stage
from shared.canonical import digest
from shared.clock import utc_now
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, DiskFull, ResourceError, StaleEpoch, StudyError, WireCode
from shared.heads import Head
from shared.update import pack, table_of
from shared.wire import TO_SERVER, Closed, Message, Open, Opened, Refused, Report, Work, decode_to_site, encode, to_site

SITES = ("north", "south")
STATE = {"w": np.zeros(3, np.float32)}
START = digest(pack(STATE))
Answering = Callable[[str, Any], Message | None]


class Line:
    """A line whose sites answer at once; one that answers None stays silent."""

    def __init__(self, root: Path, federation: Federation, answer: Answering) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.there = set(SITES)
        self.unreachable: set[str] = set()
        self.answer = answer
        self._keys = {site: load_enrolment(root / site).identity_key for site in SITES}
        self._coordinator = {"coordinator": federation.coordinator_key.public_key()}
        self._arrived: list[Arrival] = []

    def push(self, site: str, envelope: bytes, payload: Path | None = None) -> str:
        if site in self.unreachable:
            raise Unreachable("Nobody is there.", remedy="Wait.")
        message = decode_to_site(open_envelope(envelope, keys=self._coordinator, purpose=to_site(site)).body)
        self.sent.append((site, message))
        answer, name = self.answer(site, message), str(len(self.sent))
        if isinstance(answer, Report):
            answer = answer.model_copy(update={"ledger": Head(n=len(self.sent), hash="5" * 64)})
        if answer is not None:
            sealed = seal(encode(answer), key=self._keys[site], signer=site, purpose=TO_SERVER)
            self._arrived.append(Arrival(site, name, sealed))
        return name

    def poll(self) -> list[Arrival]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def online(self) -> set[str]:
        return self.there

    def pulses(self) -> dict[str, Pulse]:
        return dict.fromkeys(self.online(), Pulse(age_s=1.0, alive=True))

    def drop(self, arrival: Arrival) -> None:
        """Nothing is kept."""

    def withdraw(self, message_id: str) -> None:
        """Nothing is kept."""


def silent(site: str, message: Any) -> None:
    return None


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, now = tmp_path_factory.mktemp("ward"), int(time.time())
    create_federation(root / "ward", name="ward", host="127.0.0.1", fleet_port=9099, now=now)
    for site in SITES:
        admit(root / "ward", join(invite(root / "ward", site, now=now), root / site, now=now).read_bytes(), now=now)
    return root


@pytest.fixture
def desk(root: Path, tmp_path: Path) -> Iterator[Desk]:
    federation, roster = load_federation(root / "ward"), (root / "ward" / "roster.signed").read_bytes()
    folder = StudyFolder(tmp_path / "lungs")
    (folder.path / "models").mkdir(parents=True)
    (folder.path / "models" / "start.safetensors").write_bytes(pack(STATE))
    with Journal.open(folder.path / "journal.jsonl", key=federation.coordinator_key, clock=utc_now) as journal:
        desk = Desk(
            study=a_study("lungs"),
            folder=folder,
            tensors=table_of(STATE),
            roster=LiveRoster(federation),
            cohort=SITES,
            key=federation.coordinator_key,
            link=Line(root, federation, silent),  # type: ignore[arg-type]
            owner=claim(folder.path),
            journal=journal,
            spool=UpdateSpool(folder.path / "spool"),
            say=lambda line: None,
        )
        begin(desk)
        yield desk
    (root / "ward" / "roster.signed").write_bytes(roster)


def begin(desk: Desk) -> None:
    study = desk.study
    desk.write(StudyStarted(study=study.name, study_digest=study.digest(), start_digest=START, cohort=SITES))
    desk.write(EpochClaimed(epoch=1, pid=os.getpid()))
    for site in SITES:
        counts = {"train": 5}
        contract = desk.contract(site).digest()
        opened = {"contract_digest": contract, "patients": counts, "examples": counts, "device": "cpu", "threads": 1}
        desk.write(SiteOpened(site=site, **opened))


def a_round(desk: Desk, *, quorum: int = 0, deadline_s: float = 20.0) -> Round:
    return Round(
        stage=Stage.EVALUATE, number=1, cohort=SITES, quorum=quorum, opened_at=time.monotonic(), deadline_s=deadline_s
    )


def the_work(desk: Desk) -> Callable[[Any], Message]:
    return lambda ask: Work(
        address=desk.address(Stage.EVALUATE, 1, ask.attempt),
        study_digest=desk.study.digest(),
        model_digest=START,
        previous_digest=None,
        payload_bytes=1,
        slot_bytes=0,
    )


def written(desk: Desk) -> list[Record]:
    return [*read_history(desk.folder.path / "journal.jsonl").losses]


def line_of(desk: Desk) -> Line:
    assert isinstance(desk.link, Line)
    return desk.link


def test_a_site_that_is_removed_in_a_round_is_waited_for_no_longer(desk: Desk, root: Path) -> None:
    def leaving(site: str, message: Any) -> Message | None:
        if site == "south":
            revoke(root / "ward", "south")
            return None
        return Refused(address=message.address, refusal=WireCode.DEVICE)

    line_of(desk).answer, state = leaving, a_round(desk)
    closing = StageRun(desk, state, question=the_work(desk)).run()
    assert closing.missing == {"north": "device", "south": "removed"}
    assert state.seats["south"].phase is Phase.REMOVED
    assert closing.absent == {"south": "removed"}
    assert written(desk) == [SiteLost(round=1, site="south", cause="removed")]


@pytest.mark.parametrize("code", [WireCode.UNKNOWN_STUDY, WireCode.CONTRACT_EXPIRED])
def test_a_site_that_opens_and_forgets_is_refused_the_second_time(desk: Desk, code: WireCode) -> None:
    said: list[str] = []
    desk.say = said.append

    def forgetful(site: str, message: Any) -> Message:
        if isinstance(message, Open):
            counts: Any = dict.fromkeys(("train", "validation", "test"), 5)
            return Opened(
                address=message.address, contract_digest=desk.contract(site).under(TERMS).digest(), patients=counts,
                examples=counts, device="cpu", fell_back=False, threads=1, software={}, terms=TERMS,
            )  # fmt: skip
        return Refused(address=message.address, refusal=code)

    line_of(desk).answer = forgetful
    closing = StageRun(desk, a_round(desk), question=the_work(desk)).run()
    assert closing.missing == dict.fromkeys(SITES, code.value)
    told = "north: The site's contract for this study is no longer in force. The study is opened there anew."
    assert (told in said) == (code is WireCode.CONTRACT_EXPIRED)
    assert [message.type for site, message in line_of(desk).sent if site == "north"] == ["work", "open", "work"]


def test_a_site_that_cannot_be_sent_anything_is_lost_and_no_more(desk: Desk) -> None:
    line = line_of(desk)
    line.unreachable, line.there = {"south"}, {"north", "south"}
    line.answer = lambda site, message: Refused(address=message.address, refusal=WireCode.DEVICE)
    closing = StageRun(desk, a_round(desk, deadline_s=0.3), question=the_work(desk)).run()
    assert closing.missing == {"north": "device", "south": "line_lost"}


# ------------------------------------------------------------ how a study ends


def closing(site: str, message: Any) -> Message:
    return Closed(address=message.address, head="0" * 64)


def conductor(desk: Desk) -> Conductor:
    return Conductor(desk, Checkpoints(desk.folder.path / "models"))


def test_a_finished_study_whose_end_was_cut_short_is_only_closed(desk: Desk) -> None:
    desk.write(StudyFinished(model_digest=START))
    desk.write(EpochClaimed(epoch=2, pid=1))
    line_of(desk).answer = closing
    conductor(desk).run()
    assert {message.type for _, message in line_of(desk).sent} == {"close"}
    assert desk.folder.standing().state is StudyState.FINISHED
    assert (desk.folder.path / "model.safetensors").read_bytes() == pack(STATE)


def test_a_final_model_that_has_its_name_already_leaves_no_second_one(desk: Desk) -> None:
    desk.write(StudyFinished(model_digest=START))
    line_of(desk).answer = closing
    conductor(desk).run()
    desk.write(EpochClaimed(epoch=2, pid=1))
    conductor(desk).run()
    assert (desk.folder.path / "model.safetensors").read_bytes() == pack(STATE)
    assert not list(desk.folder.path.glob("*.part"))


def test_a_disk_that_refuses_fails_the_study_and_tells_the_sites(desk: Desk) -> None:
    def full(site: str, message: Any) -> Message:
        if isinstance(message, Open):
            raise ResourceError("The disk refused a write.", remedy="Check the disk.")
        return closing(site, message)

    line_of(desk).answer = full
    conductor(desk).run()
    assert (desk.folder.standing().state, desk.folder.standing().reason) == (
        StudyState.FAILED,
        "The disk refused a write.",
    )
    assert [(message.type, message.reason) for _, message in line_of(desk).sent[1:]] == [("close", "failed")] * 2


def test_a_full_disk_leaves_the_study_to_the_next_owner(desk: Desk) -> None:
    desk.folder.move(StudyState.RUNNING, now=utc_now())

    def full(site: str, message: Any) -> None:
        raise DiskFull("The disk is full.", remedy="Make room.")

    line_of(desk).answer = full
    with pytest.raises(DiskFull):
        conductor(desk).run()
    assert desk.folder.standing().state is StudyState.RUNNING
    assert desk.journal.history.ended is None
    line_of(desk).answer = closing
    desk.write(StudyFinished(model_digest=START))
    conductor(desk).run()
    assert desk.folder.standing().state is StudyState.FINISHED


def test_who_lost_the_study_does_not_move_it(desk: Desk) -> None:
    desk.folder.move(StudyState.RUNNING, now=utc_now())

    def overtaken(site: str, message: Any) -> None:
        claim(desk.folder.path)

    line_of(desk).answer = overtaken
    with pytest.raises(StaleEpoch):
        conductor(desk).run()
    assert desk.folder.standing().state is StudyState.RUNNING


def test_the_close_does_not_wait_for_who_is_away(desk: Desk) -> None:
    line = line_of(desk)
    line.there, line.answer = {"north"}, closing
    desk.folder.ask(Request.STOP)
    conductor(desk).run()
    assert desk.folder.standing().state is StudyState.STOPPED
    assert [site for site, _ in line.sent] == ["north"]


def test_a_pause_asks_nobody_and_closes_nothing(desk: Desk) -> None:
    line = line_of(desk)
    line.answer = closing
    desk.folder.ask(Request.PAUSE)
    conductor(desk).run()
    assert desk.folder.standing().state is StudyState.PAUSED
    assert line.sent == []
    assert [record for _, record in read_records(desk.folder.journal)][-1] == StudyPaused()


def test_a_pause_takes_in_what_is_in_hand(desk: Desk) -> None:
    """One site is asked when the pause comes; its answer counts, and the site that connects later is not asked."""
    line, state = line_of(desk), a_round(desk)
    line.there = {"north"}

    def pausing(site: str, message: Any) -> Message | None:
        desk.folder.ask(Request.PAUSE)
        line.there = set(SITES)
        return Refused(address=message.address, refusal=WireCode.DEVICE)

    line.answer = pausing
    with pytest.raises(PauseAsked):
        StageRun(desk, state, question=the_work(desk)).run()
    assert [site for site, _ in line.sent] == ["north"]
    assert not state.in_hand
    assert (state.seats["north"].phase, state.seats["south"].phase) == (Phase.REFUSED, Phase.WAITING)


# ------------------------------------------------------------ amendments


def test_an_amendment_is_taken_up_once_also_after_a_crash_in_its_midst(desk: Desk) -> None:
    desk.folder.rewrite(desk.study)
    launched = desk.study
    amend(desk.folder, rounds=7, deadline_s=None, key=desk.key)
    amend(desk.folder, rounds=None, deadline_s=9000.0, key=desk.key)
    assert take_up(desk)
    assert (desk.study.rounds.count, desk.study.rounds.deadline_s) == (7, 9000.0)
    assert desk.folder.study() == desk.study
    assert len(desk.opening(0, 1).amendments) == 2
    desk.folder.rewrite(launched)  # as if it had died before the file was written
    desk.study = launched
    assert take_up(desk)
    assert not take_up(desk)
    assert desk.folder.study().digest() == desk.journal.history.study_digest
    said = [record for _, record in read_records(desk.folder.journal) if isinstance(record, StudyAmended)]
    assert [(record.number, record.rounds) for record in said] == [(1, 7), (2, 7)]


def test_an_amendment_only_extends_and_not_past_the_last_round(desk: Desk) -> None:
    desk.folder.rewrite(desk.study)
    rounds = desk.study.rounds.count
    less: list[dict[str, Any]] = [{"rounds": rounds}, {"deadline_s": 1.0}, {"rounds": rounds + 1, "deadline_s": 1.0}]
    for asked in less:
        with pytest.raises(ConfigError):
            amend(desk.folder, **{"rounds": None, "deadline_s": None} | asked, key=desk.key)
    desk.write(SiteScored(site="north", model_digest=START, scores=()))
    with pytest.raises(StudyError, match="past its last round"):
        amend(desk.folder, rounds=rounds + 1, deadline_s=None, key=desk.key)
