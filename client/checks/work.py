"""What the worker can do here, seen from the very process that will do it: device, and one step of a study."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client.checks.grounds import Grounds
from client.contract import check_payload
from client.jobs import UPDATE_FILE, Event, Failed, ProbeDone, ProbeJob, Progress, Question, RehearseDone, RehearseJob
from client.scratch import scratch
from client.software import installed
from client.worker_process import WorkerProcess
from shared.canonical import digest
from shared.contract import contract_of
from shared.errors import TEMPLATES, ResourceError
from shared.preflight import Fact, Finding, fix, passed, warn
from shared.rehearsal import MEANINGS, Code, Outcome, outcome, two_digits
from shared.update import Array, pack

WORKER_S, DRY_RUN_S = 120.0, 7200.0
GB = 1e9
STATES = 4  # weights, gradients, and the optimiser's two moments


def look_at_device(grounds: Grounds) -> Finding:
    """Does the worker start, find its device, allocate and compute there, and is enough memory free?"""
    with a_worker(grounds.folder) as worker:
        event = ask(worker, ProbeJob(), limit_s=WORKER_S)
    if isinstance(event, Failed):
        return fix(
            TEMPLATES[event.code],
            "Look at the driver from this very account and container (nvidia-smi), or set compute.device to auto;"
            " worker.log in the site's folder says more.",
        )
    assert isinstance(event, ProbeDone)
    place, free = event.place, event.free_bytes
    facts: dict[str, Fact] = {
        "device": place.device,
        "threads": place.threads,
        "free_bytes": free,
        "bytes": event.whole_bytes,
    }
    what = f"The worker computes on {place.device} ({place.reason}); {free / GB:.1f} GB of its memory are free."
    if grounds.study is not None and free < (needed := _least_memory(grounds)):
        return fix(
            f"{what} The study's network alone needs {needed / GB:.1f} GB.",
            "Free the device's memory (nvidia-smi shows who has it), or name another device.",
            **facts,
        )
    if place.fell_back:
        return warn(what, "If this machine has a GPU, look at its driver; else all is as it should be.", **facts)
    return passed(what, **facts)


def look_at_dry_run(grounds: Grounds) -> Finding:
    """One step of the study on the site's own images, of which nothing leaves; and how long a round takes.

    A private study is tried without its noise: whom it may train is agreed when it is opened, not before.
    """
    with scratch(grounds.folder) as out:
        job = _job(grounds, out)
        with a_worker(grounds.folder) as worker:
            event = ask(worker, job, limit_s=DRY_RUN_S)
        if isinstance(event, Failed):
            return fix(TEMPLATES[event.code], "Read worker.log in the site's folder, which says where it failed.")
        assert isinstance(event, RehearseDone)
        if (out / UPDATE_FILE).is_file():
            check_payload(contract_of(job.study, job.tensors, site=grounds.invitation.site), out / UPDATE_FILE)
    return _of(event, grounds.measured.get("travel_s"), private=grounds.asked.privacy is not None)


def _of(done: RehearseDone, travel_s: float | None, *, private: bool) -> Finding:
    """The gravest thing that the rehearsal found, and how long a round takes; the device has a line of its own."""
    codes = [code for code in done.findings.values() if code not in (Code.PASS, Code.FELL_BACK_TO_CPU)]
    if grave := [code for code in codes if outcome(code) is Outcome.FIX]:
        meaning = MEANINGS[grave[0]]
        return fix(done.said or meaning.what, meaning.remedy, code=grave[0].value)
    work_s = two_digits(done.work_s or 0.0)
    round_s = two_digits(work_s + (travel_s or 0.0))
    facts = {"work_s": work_s, "round_s": round_s}
    how = "One step, without the noise of the study," if private else "One step"
    what = f"{how} was done and thrown away; nothing left. A round takes about {round_s:g} s here."
    if codes:
        return warn(f"{what} {MEANINGS[codes[0]].what}", MEANINGS[codes[0]].remedy, **facts)
    return passed(what, **facts)


def _job(grounds: Grounds, out: Path) -> RehearseJob:
    study = grounds.asked.model_copy(update={"privacy": None})
    model, name = written_model(grounds.start, out)
    return RehearseJob(study=study, tensors=grounds.tensors, model=model, model_digest=name, out=out)


def written_model(model: Mapping[str, Array], folder: Path) -> tuple[Path, str]:
    """A model's file, as a round's model comes, and its digest."""
    path, packed = folder / "model.safetensors", pack(model)
    path.write_bytes(packed)
    return path, digest(packed)


def _least_memory(grounds: Grounds) -> int:
    """Bytes that the network takes while it trains, without what its layers keep of a batch."""
    whole = sum(tensor.nbytes for tensor in grounds.tensors)
    return STATES * whole if grounds.asked.training is not None else whole


@contextmanager
def a_worker(folder: Path) -> Iterator[WorkerProcess]:
    """The site's own worker, as its agent starts it; ended afterwards."""
    worker = WorkerProcess(folder, code=installed().code)
    try:
        yield worker
    finally:
        worker.end()


def ask(worker: WorkerProcess, job: Question, *, limit_s: float) -> Event:
    """The event that ends a job.

    Args:
        worker: does it.
        job: what is asked.
        limit_s: how long it may take.

    Raises:
        ResourceError: the worker ended by itself, or does not come to an end.
    """
    worker.submit(job)
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for event in worker.listen(0.25):
            if not isinstance(event, Progress):
                return event
        if worker.crashed():
            break
    raise ResourceError(
        "The worker ends by itself, or does not answer.",
        remedy="Read worker.log in the site's folder, and the system's log: often memory is short.",
    )
