"""A study whose sites do what a test's script says: journal, spool, admission, fold and checkpoints are the real ones.

The line is the one stand-in: it opens the coordinator's envelopes with the sites' own keys, asks the
script for each site's answer, signs that and hands it back with its payload.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lone_site import TERMS, a_study

from client.join import join, load_enrolment
from server.arrival import Arrival
from server.checkpoint import Checkpoints
from server.conductor import Conductor
from server.desk import Desk
from server.federation import LiveRoster, create_federation, load_federation
from server.history import StudyHistory
from server.journal import Journal, read_history, read_records
from server.membership.enrolment import admit, invite
from server.owner import claim
from server.pulse import Pulse
from server.record import Record
from server.records import EpochClaimed, StudyStarted
from server.spool import UpdateSpool
from server.study_folder import StudyFolder
from shared.address import Stage
from shared.canonical import digest
from shared.clock import utc_now
from shared.envelope import open_envelope, seal
from shared.heads import Head
from shared.metrics import Score
from shared.study import Study
from shared.tasks import task_for
from shared.update import PackedFile, pack, table_of
from shared.wire import (
    TO_SERVER,
    Close,
    Closed,
    Counts,
    Message,
    Open,
    Opened,
    Ready,
    Report,
    Work,
    decode_to_site,
    encode,
    to_site,
)

SITES = ("east", "north", "south")
STATE = {"w": np.zeros(3, np.float32)}
EXAMPLES = {"east": 1, "north": 2, "south": 5}
Reply = tuple[Message, bytes] | Message | None
Script = Callable[[str, Any], Reply]


def change(site: str, number: int) -> bytes:
    """What a site sends in a round: other numbers for every site and round."""
    return pack({"w": np.full(3, 0.1 * number + SITES.index(site), np.float32)})


class Ward:
    """A federation with its sites' keys in a folder, in which one study after the other can be conducted."""

    def __init__(self, root: Path, sites: tuple[str, ...] = SITES) -> None:
        now = int(time.time())
        self.root, self.sites = root, sites
        self.opens_late: dict[str, int] = {}  # by site, in which round its word on the study arrives
        create_federation(root / "ward", name="ward", host="127.0.0.1", fleet_port=9099, now=now)
        for site in sites:
            request = join(invite(root / "ward", site, now=now), root / site, now=now)
            admit(root / "ward", request.read_bytes(), now=now)
        self.federation = load_federation(root / "ward")
        self.keys = {site: load_enrolment(root / site).identity_key for site in sites}

    def run(
        self,
        script: Script,
        *,
        name: str = "lungs",
        closed: Callable[[], None] = lambda: None,
        clock: Callable[[], str] = utc_now,
        **sections: Any,
    ) -> "Run":
        """Conduct a study with these sections until it ends or the script raises.

        `closed` is called when a question is withdrawn: a round was closed without its answer; `clock` before an
        entry of the journal is written.
        """
        folder = StudyFolder(self.root / "studies" / name)
        if not folder.path.exists():
            (folder.path / "models").mkdir(parents=True)
            (folder.path / "models" / "start.safetensors").write_bytes(pack(STATE))
        line, study = Line(self, script, closed), Study.model_validate(a_study(name).model_dump() | sections)
        with Journal.open(folder.path / "journal.jsonl", key=self.federation.coordinator_key, clock=clock) as journal:
            conductor = Conductor(self._desk(study, folder, line, journal), Checkpoints(folder.path / "models"))
            conductor.reconcile()
            with contextlib.suppress(PowerCut):
                conductor.run()
        return Run(self, folder, line)

    def _desk(self, study: Study, folder: StudyFolder, line: "Line", journal: Journal) -> Desk:
        owner = claim(folder.path, after=journal.history.epoch)
        desk = Desk(
            study=study,
            folder=folder,
            tensors=table_of(STATE),
            roster=LiveRoster(self.federation),
            cohort=self.sites,
            key=self.federation.coordinator_key,
            link=line,  # type: ignore[arg-type]
            owner=owner,
            journal=journal,
            spool=UpdateSpool(folder.path / "spool"),
            say=lambda words: None,
        )
        line.contract = desk.contract
        if journal.history.started is None:
            start = digest(pack(STATE))
            desk.write(
                StudyStarted(study=study.name, study_digest=study.digest(), start_digest=start, cohort=self.sites)
            )
        desk.write(EpochClaimed(epoch=owner.epoch, pid=1))
        return desk


class PowerCut(Exception):
    """Raised by a script: the server's process ends here, and nothing is tidied up."""


class Line:
    """Answers as its script says; None is silence."""

    def __init__(self, ward: Ward, script: Script, closed: Callable[[], None]) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.there = set(ward.sites)
        self.contract: Any = None
        self._ward, self._script, self._closed = ward, script, closed
        self._coordinator = {"coordinator": ward.federation.coordinator_key.public_key()}
        self._arriving: list[tuple[int, Arrival]] = []  # from which round on it is there
        self._round = 0
        self._payloads: dict[str, bytes] = {}

    def push(self, site: str, envelope: bytes, payload: Path | None = None) -> str:
        message = decode_to_site(open_envelope(envelope, keys=self._coordinator, purpose=to_site(site)).body)
        self.sent.append((site, message))
        name = str(len(self.sent))
        reply = self._script(site, message) or self._by_itself(site, message)
        answer, update = reply if isinstance(reply, tuple) else (reply, b"")
        if answer is not None:
            if isinstance(answer, Report):
                answer = answer.model_copy(update={"ledger": Head(n=len(self.sent), hash=digest(name.encode()))})
            sealed = seal(encode(answer), key=self._ward.keys[site], signer=site, purpose=TO_SERVER)
            self._payloads[name] = update
            due = self._ward.opens_late.get(site, 0) if isinstance(message, Open) else 0
            self._arriving.append((due, Arrival(site, name, sealed, len(update))))
        self._round = message.address.round
        return name

    def _by_itself(self, site: str, message: Any) -> Message | None:
        """Nobody needs to write into a script how a study is opened and closed."""
        counts: Any = dict.fromkeys(("train", "validation", "test"), 10)
        if isinstance(message, Open):
            contract = self.contract(site).under(TERMS).digest()
            return Opened(
                address=message.address, contract_digest=contract, patients=counts, examples=counts, device="cpu",
                fell_back=False, threads=1, software={}, terms=TERMS,
            )  # fmt: skip
        if isinstance(message, Close):
            return Closed(address=message.address, head="0" * 64)
        return scored(message) if message.address.stage is Stage.EVALUATE else None

    def poll(self) -> list[Arrival]:
        arrived = [arrival for due, arrival in self._arriving if due <= self._round]
        self._arriving = [(due, arrival) for due, arrival in self._arriving if due > self._round]
        return arrived

    def fetch(self, arrival: Arrival, *, limit: int) -> Iterator[bytes]:
        yield self._payloads[arrival.message_id]

    def online(self) -> set[str]:
        return self.there

    def pulses(self) -> dict[str, Pulse]:
        return dict.fromkeys(self.online(), Pulse(age_s=1.0, alive=True))

    def drop(self, arrival: Arrival) -> None:
        """Nothing is kept."""

    def withdraw(self, message_id: str) -> None:
        """Nothing is kept."""
        self._closed()


class Run:
    """What one process made of a study."""

    def __init__(self, ward: Ward, folder: StudyFolder, line: Line) -> None:
        self._ward, self._folder = ward, folder
        self.line = line

    @property
    def history(self) -> StudyHistory:
        return read_history(self._folder.path / "journal.jsonl")

    def asked(self, stage: Stage) -> list[Work]:
        """What all sites were asked at a stage."""
        return [m for _, m in self.line.sent if isinstance(m, Work) and m.address.stage is stage]

    def records(self) -> list[Record]:
        """The journal's records, in their order."""
        return [record for _, record in read_records(self._folder.path / "journal.jsonl")]

    def works(self, site: str) -> list[Work]:
        """The training that a site was asked for."""
        works = [message for name, message in self.line.sent if name == site and isinstance(message, Work)]
        return [work for work in works if work.address.stage is Stage.TRAIN]

    def model(self, number: int) -> np.ndarray:
        """The committed model of one of the last two rounds; (3,)."""
        return PackedFile(self._folder.path / "models" / f"round-{number:05d}.safetensors").tensor("w")


def scored(work: Work) -> Ready:
    """The closing trip, without any score."""
    return ready(work, None, examples=0)


def trained(site: str, work: Work, **changes: Any) -> tuple[Ready, bytes]:
    """The usual update of a site in the round that it was asked for."""
    update = change(site, work.address.round)
    return ready(work, update, examples=EXAMPLES[site], **changes), update


def ready(work: Work, update: bytes | None, *, examples: int, **changes: Any) -> Ready:
    """A site's report about its work."""
    fields: dict[str, Any] = {
        "address": work.address,
        "model_digest": work.model_digest,
        "update_digest": digest(update) if update else None,
        "update_bytes": len(update) if update else 0,
        "uploaded": update is not None,
        "replayed": False,
        "counts": Counts(examples=examples, patients=examples, steps=2),
        "scores": (),
        "seconds": {},
    }
    return Ready(**(fields | changes))


def ranked(work: Work, quarters: int | None, split: Any = "validation") -> Score:
    """An AUROC of so many quarters; None: of patients of one class."""
    ranks = [1.0] * (quarters or 0) + [-1.0] * (4 - (quarters or 0)) + [0.0] * 4
    truth = np.array([1] * 4 + [0 if quarters is not None else 1] * 4)
    task, logits = task_for(a_study().task), np.array(ranks).reshape(-1, 1)
    return task.score(logits, truth, model_digest=work.model_digest, split=split)
