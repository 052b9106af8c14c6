"""A real site at a real server, with its agent's loop in the benchmark's hands.

Keys, door, contract, ledger, spool and line are the site's own; only the worker is a light one. So what an
attacker inside the agent could do is done here: offer the door anything, and give the line whatever the
door hands over. What left is what the line counted.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from client.answering import Answering
from client.site import open_site
from deploy.bench.bed import queue
from deploy.bench.door_attacks import ONE_IMAGE, Offer
from deploy.bench.light_site import LightWorker
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.local import LocalFederation
from server.federation import load_federation
from server.study_folder import StudyFolder
from shared.address import Address, Stage
from shared.chain import Entry
from shared.envelope import seal
from shared.errors import LinkError, Refusal, ResourceError, TrustError
from shared.identity import COORDINATOR
from shared.ledger import read_entries
from shared.tasks import task_for
from shared.update import PackedFile
from shared.wire import Message, Ready, encode, to_site

SITE = "west"
PATIENCE_S = 60.0
TURN_S = 0.1
STUDY = f"""\
[study]
name = "door"

[task]
classes = ["spot"]

[images]
size_px = {SIDE_PX}

[model]
width = 8

[training]
batch_size = 8
steps_per_round = 1

[rounds]
count = 1
quorum = 1
deadline_s = 240
"""


class DoorBed:
    """One site in the middle of round 1: its answer is ready, released, and not sent yet.

    Args:
        federation: serving, with this one site.
        folder: the queued study's.

    Raises:
        ResourceError: the server sent no work in time.
    """

    def __init__(self, federation: LocalFederation, folder: StudyFolder) -> None:
        self._answers: deque[Any] = deque()
        self._coordinator = load_federation(federation.federation).coordinator_key
        self._said: list[str] = []
        self._site = open_site(federation.sites[SITE], say=self._said.append, worker=LightWorker(0))
        self._answering = Answering(self._site, answer=lambda *both: self._answers.append(both), later=lambda _: None)
        self._scratch = federation.root / "offered"
        self._until(self._connected)
        self._until(self._answered)
        self._site.link.send(*self._answers.popleft())  # the study is open
        self._until(self._answered)
        self._parcel, self._honest = self._answers.popleft()
        record = self._site.studies.find(folder.name)
        assert record is not None
        self.contract, self.opening = record.contract(SITE), record.open

    def offer(self) -> Offer:
        """The honest answer with a score of a few patients, as the worker would have made it."""
        record = self._site.studies.find(self.contract.study)
        assert record is not None
        done = self._site.spool.find(self.contract.study, 1, record.chain[1])
        assert done is not None and done.update is not None
        logits, truth = np.linspace(-1, 1, 8).reshape(-1, 1), np.arange(8) % 2
        score = task_for(record.open.study.task).score(
            logits, truth, model_digest=done.ready.model_digest, split="validation"
        )
        ready = done.ready.model_copy(update={"scores": (score,), "uploaded": True})
        return Offer(ready, done.update.read_bytes(), self.contract)

    def state(self, offer: Offer) -> dict[str, Any]:
        """The offer's update, by tensor."""
        self._scratch.write_bytes(offer.update)
        return dict(PackedFile(self._scratch).items())

    def attempt(self, offer: Offer, *, swap: bytes | None = None) -> dict[str, Any]:
        """Hold an offer out at the door, and give the line what comes through.

        Args:
            offer: what.
            swap: what the update's file holds instead as soon as the door has checked it.

        Returns:
            `refused` with its `rule`, whether the ledger has it, and the bytes that went up the line.
        """
        self._scratch.write_bytes(offer.update)
        before, rule = self._sent(), None
        try:
            rule = self._pass_through(offer.ready, offer, swap)
        except Refusal as refusal:
            rule = refusal.remedy
        left = self._sent() - before
        return {"refused": rule is not None, "rule": rule, "in_ledger": self._noted(rule), "left_bytes": left}

    def _pass_through(self, ready: Ready, offer: Offer, swap: bytes | None) -> str | None:
        released = self._site.egress.release(ready, contract=offer.contract, payload=self._scratch)
        if swap is not None:
            self._scratch.write_bytes(swap)
        try:
            self._site.link.send(self._parcel, released)
        except TrustError as error:  # as the agent takes it
            self._site.egress.recall(released)
            return error.what
        return None

    def address(self, stage: Stage, number: int) -> Address:
        """Of a message of the study that is not open."""
        return Address(study=ONE_IMAGE, epoch=1, round=number, attempt=1, stage=stage)

    def ask(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Let the coordinator ask for something, and give the line whatever is not a refusal; as `attempt`."""
        before, refused = self._sent(), 0
        first = len(self._said)
        for message in messages:
            envelope = seal(encode(message), key=self._coordinator, signer=COORDINATOR, purpose=to_site(SITE))
            self._answering.receive(replace(self._parcel, envelope=envelope))
            refused += self._dispose()
        left, rule = self._sent() - before, self._said[first:]
        return {
            "refused": refused == len(messages),
            "rule": rule[0] if rule else None,
            "in_ledger": self._last().data.get("kind") == "refused",
            "left_bytes": left,
        }

    def _dispose(self) -> int:
        """Refusals say a code and are thrown away here; anything else goes out. How many refusals there were."""
        refusals = 0
        while self._answers:
            parcel, released = self._answers.popleft()
            if self._last().data.get("kind") == "refused":
                refusals += 1
            else:
                self._site.link.send(parcel, released)
        return refusals

    def answer(self) -> int:
        """Send the honest answer after all; the bytes that it took."""
        before = self._sent()
        self._site.link.send(self._parcel, self._honest)
        return self._sent() - before

    def close(self) -> None:
        """Close line and ledger."""
        self._site.link.close()
        self._site.ledger.close()

    def _sent(self) -> int:
        """Bytes up the line until now, but for heartbeats, which go when they are due."""
        traffic = self._site.link.traffic
        return traffic.bytes_up - traffic.presence_up

    def _noted(self, rule: str | None) -> bool:
        return rule is not None and self._last().type == "release_refused"

    def _last(self) -> Entry:
        *_, last = read_entries(self._site.folder / "ledger.jsonl")
        return last

    def _connected(self) -> bool:
        try:
            self._site.link.connect()
        except LinkError:
            return False
        return True

    def _answered(self) -> bool:
        """Take the next message, if there is one, and do what it asks."""
        if (parcel := self._site.link.pull()) is not None:
            self._answering.receive(parcel)
            for event in self._site.worker.listen(0.0):
                self._answering.hear(event)
        return bool(self._answers)

    @staticmethod
    def _until(condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise ResourceError("The server sent no work in time.", remedy="Read its log; try again.")
            time.sleep(TURN_S)


@contextmanager
def door_bed(root: Path) -> Iterator[DoorBed]:
    """Serve a federation of one site in `root`, launch its study, and stand at the site's door."""
    federation = LocalFederation(root / "bench", draw_sites(root / "images", {SITE: 16}, seed=0), device="cpu")
    with federation:
        federation.serve()
        bed = DoorBed(federation, queue(federation, STUDY))
        try:
            yield bed
        finally:
            bed.close()
