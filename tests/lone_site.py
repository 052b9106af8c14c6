"""One real site in a folder, whose line to the server and whose worker a test holds in its hands.

Keys, ledger, spool, study store, door and envelopes are the real ones. `Line` keeps what was sent and
can be down; `Hands` takes jobs and does them when the test says so. `Coordinator` signs messages as
the federation's coordinator does.
"""

import hashlib
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from client.answering import Answering
from client.egress import Released
from client.imaging.settings import DataSettings
from client.jobs import Drawn, Event, Job, OpenDone, OpenJob, Place, RoundDone, RoundJob, ScoreJob
from client.link import Delayed, Parcel, Traffic
from client.policy import Policy
from client.privacy.budget_settings import BudgetSettings
from client.privacy.training_patients import TrainingPatients
from client.settings import AboutSite, ComputeSettings, SiteSettings, load_settings, write_settings
from client.site import Site, open_site
from client.software import Software
from deploy.provision import Provisioned, provision
from server.federation import load_federation
from shared.address import Address, Stage
from shared.canonical import digest
from shared.envelope import open_envelope, seal
from shared.errors import LinkError, TrustError, WireCode
from shared.heads import Head, Held, held_for
from shared.ledger import read_entries
from shared.metrics import Score
from shared.privacy import History
from shared.receipt import Receipt
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.tasks import task_for
from shared.update import pack, table_of
from shared.wire import TO_SERVER, Close, Counts, Grant, Message, Open, Report, Work, decode_to_server, encode, to_site

NOW = 1_800_000_000
TELLS: dict[str, Any] = {
    "smallest_cell": 1,
    "score_histograms": True,
    "subgroup_scores": True,
}  # the few patients here are nobody's
START = pack({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, np.int64)})
UPDATE = pack({"w": np.full((2, 3), 0.5, np.float32), "n": np.array(4, np.int64)})
TENSORS = table_of({"w": np.zeros((2, 3), np.float32), "n": np.zeros((), np.int64)})
TERMS = SiteTerms(code="c" * 64, floors={"batch_size_at_least": 2}, expires="2034-01-31T12:00:00Z")
COUNTS = Counts(examples=8, patients=5, steps=2)
DRAWN = Drawn(patients=5, step_images=8, step_patients=5)


def a_study(
    name: str = "lungs", *, rounds: int = 2, sites: tuple[str, ...] = (), late: str = "drop", **changes: Any
) -> Study:
    """A small study of binary classification."""
    fields: dict[str, Any] = {
        "study": {"name": name},
        "task": {"classes": ["opacity"]},
        "images": {"size_px": 28},
        "training": {"steps_per_round": 2, "batch_size": 8},
        "rounds": {"count": rounds, "sites": sites, "late": late},
    }
    return Study.model_validate(fields | changes)


def a_score(study: Study, model_digest: str, *, split: str = "validation", patients: int = 4) -> Score:
    """What a site's task says of a few patients."""
    logits = np.linspace(-1, 1, patients).reshape(-1, 1)
    return task_for(study.task).score(logits, np.arange(patients) % 2, model_digest=model_digest, split=split)


class Line:
    """A line to a server that keeps what it is given; `down` makes every use of it fail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes | None]] = []
        self.dropped: list[str] = []
        self.delayed: set[str] = set()
        self.aside: list[str] = []
        self.waiting: deque[Parcel] = deque()
        self.kept: dict[str, Parcel] = {}
        self.payloads: dict[str, bytes] = {}
        self.down = False
        self.clock_offset_s = 0.0
        self.traffic = Traffic()

    def _try(self) -> None:
        if self.down:
            raise LinkError("The line is down.", remedy="Wait.")

    def connect(self) -> None:
        self._try()

    def give_up(self) -> None:
        self.down = True

    def close(self) -> None:
        pass

    def unanswered(self) -> list[Parcel]:
        self._try()
        return list(self.kept.values())

    def pull(self) -> Parcel | None:
        self._try()
        if not self.waiting:
            return None
        parcel = self.waiting.popleft()
        self.kept[parcel.id] = parcel
        return parcel

    def fetch(self, parcel: Parcel, into: Path, *, limit: int) -> str:
        self._try()
        if parcel.id in self.delayed:
            raise Delayed
        payload = self.payloads[parcel.id]
        if len(payload) > limit:
            raise TrustError("A payload is larger than allowed.", remedy="Ask the coordinator.")
        into.write_bytes(payload)
        return digest(payload)

    def put_aside(self, parcel: Parcel) -> None:
        self.aside.append(parcel.id)

    def come(self, parcel: Parcel) -> None:
        """What was put aside has come whole."""
        self.delayed.remove(parcel.id)
        self.waiting.append(parcel)

    def drop(self, parcel: Parcel) -> None:
        self._try()
        self.kept.pop(parcel.id, None)
        self.dropped.append(parcel.id)

    def send(self, parcel: Parcel, released: Released) -> bool:
        self._try()
        self.kept.pop(parcel.id, None)
        self.sent.append((parcel.id, released.envelope, released.payload.read_bytes() if released.payload else None))
        return True


class Hands:
    """A worker whose jobs are done by the test: `done` says what comes out next, `die` ends it."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.pid: int | None = None
        self.starts = 0
        self.code_differs = False
        self._events: list[Event] = []
        self._crashed = False

    def submit(self, job: Job) -> None:
        if self.pid is None:
            self.starts += 1
            self.pid = 1000 + self.starts
        self.jobs.append(job)

    def done(self, event: Event) -> None:
        self._events.append(event)

    def die(self) -> None:
        self.pid, self._crashed = None, True

    def listen(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def crashed(self) -> bool:
        return self._crashed

    def end(self) -> None:
        self.pid, self._crashed = None, False


class Coordinator:
    """Says what the coordinator would say to one site, about one study."""

    def __init__(self, place: Provisioned, site: str, study: Study) -> None:
        self._key = load_federation(place.federation).coordinator_key
        self._roster = load_federation(place.federation).roster
        self._site = site
        self._serial = 0
        self.study = study
        self.epoch = 1

    def parcel(self, message: Message | bytes, *, key: Any = None, site: str | None = None) -> Parcel:
        """A signed message as it comes over the line."""
        body = message if isinstance(message, bytes) else encode(message)
        envelope = seal(body, key=key or self._key, signer="coordinator", purpose=to_site(site or self._site))
        self._serial += 1
        name = hashlib.sha256(bytes([self._serial])).hexdigest()
        payload_bytes = getattr(message, "payload_bytes", 0)
        return Parcel(name, envelope, payload_bytes, (), None)  # type: ignore[arg-type]

    def address(self, stage: Stage, number: int, *, attempt: int = 1) -> Address:
        return Address(study=self.study.name, epoch=self.epoch, round=number, attempt=attempt, stage=stage)

    def open(self, *, attempt: int = 1) -> Open:
        place = self.address(Stage.OPEN, 0, attempt=attempt)
        return Open(address=place, study=self.study, tensors=TENSORS, cohort=(self._site,))

    def work(self, number: int, model: bytes = START, *, slot: int = 10**6, **changes: Any) -> Work:
        fields: dict[str, Any] = {
            "address": self.address(Stage.TRAIN, number),
            "study_digest": self.study.digest(),
            "model_digest": digest(model),
            "previous_digest": None,
            "payload_bytes": len(model),
            "slot_bytes": slot,
        }
        return Work(**(fields | changes))

    def grant(self, number: int, update: bytes = UPDATE) -> Grant:
        return Grant(address=self.address(Stage.UPLOAD, number), update_digest=digest(update), lease_s=30.0)

    def close(self, number: int, *, reason: str = "finished", receipts: tuple[Receipt, ...] = ()) -> Close:
        return Close(address=self.address(Stage.CLOSE, number), reason=reason, receipts=receipts)

    def receipt(
        self, number: int, *, outcome: str = "counted", update: bytes | None = UPDATE, **changes: Any
    ) -> Receipt:
        fields: dict[str, Any] = {
            "site": self._site,
            "study": self.study.name,
            "round": number,
            "outcome": outcome,
            "update_digest": None if update is None else digest(update),
            "model_digest": "e" * 64,
            "head": None,
            "root": "d" * 64,
            "time": "2026-01-02T03:04:05Z",
        }
        return Receipt(**(fields | changes)).signed(self._key)

    def held(self, head: Head) -> Held:
        """What this site is told when its head is held beside another site's."""
        return held_for(self._site, {self._site: head, "west": Head(n=7, hash="7" * 64)})

    def read(self, envelope: bytes) -> Any:
        """What the site said, its signature checked."""
        keys = self._roster.identity_keys(at=NOW)
        return decode_to_server(open_envelope(envelope, keys=keys, purpose=TO_SERVER).body)


class LoneSite:
    """A provisioned site, its `Answering`, and the two ends that the test holds."""

    def __init__(
        self,
        root: Path,
        *,
        name: str = "north",
        study: Study | None = None,
        lifetime_epsilon: float | None = None,
        **data: Any,
    ) -> None:
        self.place = provision(
            root, name="ward", host="127.0.0.1", fleet_port=9, sites=[name, f"{name}-neighbour"], now=NOW
        )
        self.folder = self.place.sites[name]
        described = DataSettings(**({"kind": "npz", "file": self.folder / "images.npz"} | data))
        settings = SiteSettings(
            site=AboutSite(name=name),
            data=described,
            compute=ComputeSettings(threads=1),
            policy=Policy(budget=BudgetSettings(lifetime_epsilon=lifetime_epsilon), **TELLS),
        )
        write_settings(self.folder / "site.toml", settings)
        self.name = name
        self.coordinator = Coordinator(self.place, name, study or a_study())
        self.said: list[str] = []
        self.line = Line()
        self.later: list[Parcel] = []
        self.ahead_s = 0.0  # of this computer's clock
        self.start()

    def start(self, *, worker: Any = None, software: Software | None = None) -> None:
        """(Re)open the site from its folder, as a new process would; the line keeps its messages."""
        if hasattr(self, "site"):
            self.site.ledger.close()
        self.hands = worker or Hands()
        self.site: Site = open_site(
            self.folder,
            say=self.said.append,
            link=self.line,
            worker=self.hands,
            clock=lambda: time.time() + self.ahead_s,
            price=count_steps,
            software=software,
        )
        self.answering = Answering(self.site, answer=self.line.send, later=self.later.append)

    def set_policy(self, **lines: Any) -> None:
        """The operator writes another policy and starts the site again."""
        settings = load_settings(self.folder / "site.toml").model_copy(update={"policy": Policy(**TELLS | lines)})
        (self.folder / "site.toml").unlink()
        write_settings(self.folder / "site.toml", settings)
        self.start()

    def pass_days(self, days: int) -> None:
        """The site's clock goes on by so much at once."""
        self.ahead_s += days * 86_400.0

    def close(self) -> None:
        self.hands.end()
        self.site.ledger.close()

    # ------------------------------------------------------------ what happens

    def tell(self, message: Message, *, model: bytes = START) -> Parcel:
        """The coordinator says something; a Work brings the model along, and the heads that it does not name itself."""
        if isinstance(message, Work | Close) and message.heads is None:
            named = [answer.ledger for answer in self.answers if isinstance(answer, Report)]
            message = message.model_copy(update={"heads": self.coordinator.held(named[-1]) if named else None})
        parcel = self.coordinator.parcel(message)
        self.line.payloads[parcel.id] = model
        self.line.kept[parcel.id] = parcel
        self.answering.receive(parcel)
        return parcel

    def open(self) -> None:
        """Open the study, as the worker would."""
        self.tell(self.coordinator.open())
        self.finish()

    def offer(self, *patients: bytes) -> None:
        """The worker says who would train, before it says that a private study is open."""
        TrainingPatients(self.folder).offer(self.coordinator.study.digest(), frozenset(patients))

    def finish(self, update: bytes = UPDATE) -> None:
        """The worker does the job in hand."""
        task = self.answering.current
        assert task is not None
        match task.job:
            case OpenJob():
                self.answering.hear(opened())
            case RoundJob() as job:
                (job.out / "update.safetensors").write_bytes(update)
                self.answering.hear(trained(self.coordinator.study, job.model_digest))
            case ScoreJob() as job:
                self.answering.hear(scored(self.coordinator.study, job.model_digest, splits=job.splits))

    # ------------------------------------------------------------ what came of it

    @property
    def answers(self) -> list[Any]:
        """Everything that left, opened by the server's rules."""
        return [self.coordinator.read(envelope) for _, envelope, _ in self.line.sent]

    @property
    def uploads(self) -> list[bytes]:
        """The payloads that left."""
        return [payload for _, _, payload in self.line.sent if payload is not None]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """The ledger's entries of one type."""
        return [entry.data for entry in read_entries(self.folder / "ledger.jsonl") if entry.type == kind]

    def waiting(self, study: str = "lungs") -> str:
        """The digest of the contract that waits for a person."""
        asked = self.site.approvals.asked(study)
        assert asked is not None
        return asked.contract

    def refused(self) -> list[WireCode]:
        """Codes of the refusals that left."""
        return [answer.refusal for answer in self.answers if answer.type == "refused"]


def count_steps(histories: Iterable[History], delta: float) -> float:
    """A price that needs no accountant: a step costs one."""
    return float(max((sum(run.steps for run in history) for history in histories), default=0))


def opened() -> OpenDone:
    """The worker's word on an opened study."""
    return OpenDone(
        patients={"train": 5, "validation": 4, "test": 4},
        examples={"train": 8, "validation": 4, "test": 4},
        place=Place(device="cpu", reason="device = cpu in the configuration", fell_back=False, threads=1),
        software={"python": "3.11.9"},
    )


def trained(study: Study, model_digest: str) -> RoundDone:
    """The worker's word on a trained round."""
    scores = (a_score(study, model_digest),)
    return RoundDone(counts=COUNTS, scores=scores, seconds={"train": 0.5}, drawn=DRAWN)


def scored(study: Study, model_digest: str, *, splits: Iterable[str] = ("validation", "test")) -> RoundDone:
    """The worker's word on a trip that only scores."""
    scores = tuple(a_score(study, model_digest, split=split) for split in splits)
    nothing = Counts(examples=0, patients=0, steps=0)
    return RoundDone(counts=nothing, scores=scores, seconds={"score": 0.5})
