"""Sites without images or torch, many in one process: a load for the server that a small machine can bear.

    python -m deploy.bench.light_site SITE_FOLDER ...

Each is the real agent with its link, door, ledger and spool. Only the worker is another one: it answers
every round with an update of small random numbers. Zeros would not do, since Flower stores equal
objects once.
"""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from client.agent import Agent
from client.jobs import (
    UPDATE_FILE,
    Drawn,
    Event,
    Job,
    OpenDone,
    OpenJob,
    Place,
    ProbeDone,
    ProbeJob,
    RoundDone,
    RoundJob,
    ScoreJob,
    Split,
)
from client.site import open_site
from shared.parent import end_if_asked
from shared.update import PackedFile, Piece, Tensors, pack_pieces, packed_order, spans, update_table
from shared.wire import Counts

_PLACE = Place(device="cpu", reason="nothing is computed", fell_back=False, threads=1)
_PATIENTS = 8  # above the floor of a policy that says nothing
_AMPLITUDE = np.float32(1e-4)


class LightWorker:
    """Stands where `client.worker_process.WorkerProcess` does; every job is done when it is handed over.

    Args:
        seed: makes this site's updates its own.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._events: deque[Event] = deque()

    pid: int | None = 0  # the agent takes an absent worker for an idle one and sleeps
    code_differs = False  # it is the agent's own process

    def submit(self, job: Job) -> None:
        """Do a job."""
        if isinstance(job, ProbeJob):
            self._events.append(ProbeDone(place=_PLACE))
        elif isinstance(job, OpenJob):
            self._events.append(_opened())
        elif isinstance(job, RoundJob):
            self._events.append(self._worked(job))
        elif isinstance(job, ScoreJob):
            self._events.append(_done(examples=0, steps=0))

    def listen(self, timeout_s: float) -> list[Event]:
        """What was done since the last call; waits only if nothing was."""
        if not self._events:
            time.sleep(timeout_s)
        events, self._events = list(self._events), deque()
        return events

    def crashed(self) -> bool:
        """Never."""
        return False

    def end(self, *, grace_s: float = 0.0) -> None:
        """Nothing to end."""

    def _worked(self, job: RoundJob) -> RoundDone:
        random = np.random.default_rng([self._seed, job.round])
        tensors = update_table(PackedFile(job.model).table(), job.study.transfer.update_dtype)
        with (job.out / UPDATE_FILE).open("wb") as file:
            for chunk in pack_pieces(tensors, _noise(tensors, random)):
                file.write(chunk)
        return _done(examples=_PATIENTS, steps=1)


def main(folders: list[Path]) -> int:
    """Serve as all these sites until SIGTERM."""
    sites = (open_site(folder, say=_say, worker=LightWorker(seed)) for seed, folder in enumerate(folders))
    agents = [Agent(site) for site in sites]
    threads = [threading.Thread(target=agent.run) for agent in agents]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(agents))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _stop(agents: list[Agent]) -> None:
    for agent in agents:
        agent.stop()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _noise(tensors: Tensors, random: np.random.Generator) -> Iterator[Piece]:
    for tensor in packed_order(tensors):
        for start, stop in spans(tensor):
            values: Any = np.zeros(stop - start, np.int64)
            if tensor.dtype != "int64":
                values = _AMPLITUDE * random.random(stop - start, dtype=np.float32)
            if tensor.dtype == "bfloat16":
                values = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
            yield Piece(tensor.name, start, values)


def _opened() -> OpenDone:
    counts: dict[Split, int] = {"train": _PATIENTS, "validation": 0, "test": 0}
    return OpenDone(place=_PLACE, patients=counts, examples=counts, software={"numpy": np.__version__})


def _done(*, examples: int, steps: int) -> RoundDone:
    drawn = Drawn(patients=examples, step_images=examples, step_patients=examples)
    return RoundDone(
        counts=Counts(examples=examples, patients=examples, steps=steps), scores=(), seconds={}, drawn=drawn
    )


if __name__ == "__main__":
    end_if_asked()
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
