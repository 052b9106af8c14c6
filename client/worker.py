"""The worker process: images, torch, GPU. It holds no key and opens no socket.

`python -m client.worker SITE_FOLDER` reads jobs from its standard input and writes events to its
standard output, one JSON line each; whatever a library prints goes to standard error, which is the
site's own log. Where the kernel lets us, the process lives in an empty network namespace. It is
disposable: the agent restarts it and repeats the job, and gets the same bytes. After a fault of CUDA, of
which a process does not recover, it ends without an answer, so that this happens.
"""

import contextlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from client.jobs import (
    Began,
    CloseJob,
    Event,
    Failed,
    OpenJob,
    ProbeJob,
    Progress,
    Question,
    RehearseJob,
    RoundJob,
    read_job,
    to_line,
)
from client.settings import FILE_NAME, load_settings
from client.software import installed
from client.work.failure import code_of
from shared.clock import utc_now
from shared.log_file import Log
from shared.parent import end_with_parent
from shared.remarks import Remark, remark

if TYPE_CHECKING:
    from client.work.workbench import Workbench

PROGRESS_EVERY_S = 1.0


def main() -> None:
    """Serve jobs until standard input ends."""
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    isolated = leave_the_network()
    end_with_parent()  # a new agent starts its own worker, and two would share the device
    network = "empty" if isolated else "shared with the host"
    print(f"worker {os.getpid()}: network namespace {network}", file=sys.stderr)
    events.write(to_line(Began(code=installed().code)))
    from client.work.workbench import Workbench  # torch is imported only now, behind the empty namespace

    bench, say = Workbench(Path(sys.argv[1])), _log(Path(sys.argv[1]))
    say(remark("The worker begins; its network namespace is {network}.", network=network, pid=os.getpid()))
    for line in sys.stdin.buffer:
        job = read_job(line)
        if isinstance(job, CloseJob):
            bench.close(job)
        else:
            event = do_job(bench, job, events)
            say(_told(job, event))
            if isinstance(event, Failed) and bench.has_lost_its_device():
                say(remark("The device is lost to this worker; another one does the work.", level="error"))
                return
            events.write(to_line(event))


def leave_the_network() -> bool:
    """Move to an empty network namespace (Linux, unshare(2)); False where that is not allowed."""
    import ctypes

    new_user, new_net = 0x10000000, 0x40000000
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        wanted = (new_net,) if os.geteuid() == 0 else (new_user | new_net,)
        return any(libc.unshare(flags) == 0 for flags in wanted)
    except (OSError, AttributeError):
        return False


def do_job(bench: "Workbench", job: Question, events: BinaryIO) -> Event:
    """One job's closing event; a failure keeps its words here and sends only a code."""
    try:
        if isinstance(job, ProbeJob):
            return bench.probe()
        if isinstance(job, OpenJob):
            return bench.open(job)
        if isinstance(job, RoundJob):
            return bench.round(job, on_step=_Beat(events))
        if isinstance(job, RehearseJob):
            return bench.rehearse(job)
        return bench.score(job)
    except Exception as error:  # the worker survives any job; the words go to the site's own log
        traceback.print_exc()
        return Failed(code=code_of(error))


def _log(folder: Path) -> Log:
    """The worker's own log; what its exceptions say stays on standard error."""
    settings = load_settings(folder / FILE_NAME)
    log = Log("worker", folder, now=utc_now, console=None)
    log.follow(settings.log, site=settings.site.name)
    return log


def _told(job: Question, event: Event) -> Remark:
    of: dict[str, Any] = {"job": job.job}
    of |= {"study": job.study.name} if not isinstance(job, ProbeJob) else {}
    of |= {"round": job.round} if isinstance(job, RoundJob) else {}
    if isinstance(event, Failed):
        return remark("The work failed: {code}.", level="error", code=event.code.value, **of)
    return remark("The work is done.", **of)


class _Beat:
    """Tells the agent at most once a second that training goes on."""

    def __init__(self, events: BinaryIO) -> None:
        self._events = events
        self._last = time.monotonic()

    def __call__(self, steps: int, planned: int | None) -> None:
        if time.monotonic() - self._last >= PROGRESS_EVERY_S:
            self._last = time.monotonic()
            self._events.write(to_line(Progress(steps=steps, planned=planned)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
    sys.stderr.flush()
    os._exit(0)  # torch takes seconds to take itself down, and nothing is left to save
