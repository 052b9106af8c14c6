"""The site's work on one message inside a process that is not ours: no line, no worker process.

What the agent does with a message is done here by the same `Answering`, behind the same door. Only
its two neighbours are stand-ins: a link that has one message and sends nothing, and a worker that
computes where it is asked. State lies in the site's folder. Because the next message may come to another
process, what was read of it serves again only while the ledger, to which every answer adds, is as this
process left it; data and models stay warm as long as this process lives.
"""

import fcntl
import hashlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.answering import Answering
from client.egress import Released
from client.jobs import CloseJob, Event, Job, Question
from client.privacy.price import dearest
from client.receipts import LEDGER_FILE
from client.site import Site, open_site
from client.worker import do_job
from shared.address import UNADDRESSED
from shared.durable import show_file
from shared.errors import TrustError, WireCode
from shared.wire import Refused

if TYPE_CHECKING:
    from client.work.networks import Networks
    from client.work.workbench import Workbench

_benches: dict[Path, "Workbench"] = {}
_sites: dict[Path, tuple[Site, tuple[int, int, int]]] = {}  # with the ledger's mark when it was last left


@dataclass(frozen=True)
class WholeParcel:
    """One message that came whole; what `Answering` reads of a link's `Parcel`."""

    id: str
    envelope: bytes = field(repr=False)
    payload: bytes = field(default=b"", repr=False)


def answer(folder: Path, parcel: WholeParcel) -> Released | None:
    """Answer one message as the agent of this folder would.

    Waits while another process serves the folder.

    Returns:
        What may leave, exactly one for each message; None for a message that was thrown away.

    Raises:
        ConfigError: the folder is not that of a site that has joined.
        TrustError: a key file is exposed, or the ledger does not hold.
    """
    folder = folder.resolve()
    with _alone(folder):
        site = _site(folder)
        try:
            return _answer(site, parcel)
        finally:
            _sites[folder] = site, _mark(folder)


class InProcessWorker:
    """`WorkerProcess` without the process: a job is done by who listens for its result."""

    code_differs = False  # it is this process's

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job: Question | None = None

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def submit(self, job: Job) -> None:
        """Take a job; one that lets a study go is done at once."""
        if isinstance(job, CloseJob):
            self.end()
        else:
            self._job = job

    def listen(self, timeout_s: float) -> list[Event]:
        """Do the job in hand, however long it takes."""
        job, self._job = self._job, None
        return [] if job is None else [do_job(_bench(self._folder), job, io.BytesIO())]

    def crashed(self) -> bool:
        """Never seen: it would be this process that is gone."""
        return False

    def end(self) -> None:
        """Let the data and models go."""
        _benches.pop(self._folder, None)


class _HeldLink:
    """The part of a `Link` that `Answering` uses, for a parcel that is here already."""

    clock_offset_s = 0.0  # Flower's own runtime keeps the line
    traffic = None  # and counts what goes over it

    def fetch(self, parcel: WholeParcel, into: Path, *, limit: int) -> str:
        if len(parcel.payload) > limit:
            raise TrustError(
                "A payload is larger than announced.", remedy="Ask the coordinator whether the model is the agreed one."
            )
        show_file(into, parcel.payload, mode=0o600)  # as a Link does, it does not wait for the disk
        return hashlib.sha256(parcel.payload).hexdigest()

    def reach(self, **reach: object) -> None:
        """Flower's own runtime keeps the line."""

    def drop(self, parcel: WholeParcel) -> None:
        """Nothing is kept anywhere."""


def _site(folder: Path) -> Site:
    """The site as this process left it, or opened anew."""
    site, mark = _sites.pop(folder, (None, None))
    if site is not None and mark == _mark(folder):
        return site
    if site is not None:
        site.ledger.close()
    return open_site(folder, say=_say, link=_HeldLink(), worker=InProcessWorker(folder), price=dearest)


def _mark(folder: Path) -> tuple[int, int, int]:
    about = (folder / LEDGER_FILE).stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def _answer(site: Site, parcel: Any) -> Released | None:
    released: list[Released] = []
    answering = Answering(site, answer=lambda _, out: released.append(out), later=lambda _: None)
    try:
        answering.receive(parcel)
        while answering.current is not None:
            for event in site.worker.listen(0):
                answering.hear(event)
    except Exception:  # its words stay on the site's console
        traceback.print_exc()
        released.append(site.egress.release(Refused(address=UNADDRESSED, refusal=WireCode.INTERNAL), contract=None))
    return released[0] if released else None


def _bench(folder: Path) -> "Workbench":
    from client.work.workbench import Workbench  # torch: not for a message that computes nothing

    if folder not in _benches:
        _benches[folder] = Workbench(folder, _networks())
    return _benches[folder]


@cache
def _networks() -> "Networks":
    """Those of all sites of this process."""
    from client.work.networks import Networks

    return Networks()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "agent.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
