"""The agent's hold on a worker: a real process that may crash, babble or be ended."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from client.jobs import Event, Failed, ProbeJob, Progress, read_event, read_job, to_line
from client.worker_process import LINE_LIMIT, WorkerProcess
from shared.errors import WireCode

# Answers each job as its first argument says; stands in for `python -m client.worker`.
SAYS = {
    "well": 'for line in sys.stdin: print(\'{"event":"progress","steps":3}\', flush=True)',
    "nonsense": "sys.stdin.readline(); print('Erika Mustermann', flush=True); sys.stdin.read()",
    "endless": "sys.stdin.readline()\nwhile True: sys.stdout.write('x' * 65536)",
    "deaf": "import time\nwhile True: time.sleep(1)",
}


def saying(folder: Path, what: str) -> WorkerProcess:
    """A worker process with another program in it."""
    return WorkerProcess(folder, command=[sys.executable, "-c", "import sys\n" + SAYS[what]])


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def listened(worker: WorkerProcess) -> list[Event]:
    events: list[Event] = []
    wait(lambda: events.extend(worker.listen(0.2)) or events or worker.crashed())
    return events


def test_a_job_is_answered_by_the_same_process(tmp_path: Path) -> None:
    worker = saying(tmp_path, "well")
    for _ in range(2):
        worker.submit(ProbeJob())
        assert listened(worker) == [Progress(steps=3)]
    pid = worker.pid
    assert pid is not None
    worker.end()
    assert worker.pid is None
    assert not psutil.pid_exists(pid)
    assert not worker.crashed()


@pytest.mark.parametrize("says", ["nonsense", "endless"])
def test_a_worker_that_does_not_keep_to_its_words_is_killed(tmp_path: Path, says: str) -> None:
    worker = saying(tmp_path, says)
    worker.submit(ProbeJob())
    assert listened(worker) == []
    assert worker.crashed()
    assert len(worker._buffer) <= LINE_LIMIT + 65536
    worker.end()


def test_a_crash_is_seen_and_the_next_job_starts_anew(tmp_path: Path) -> None:
    worker = saying(tmp_path, "well")
    worker.submit(ProbeJob())
    listened(worker)
    os.kill(worker.pid, signal.SIGKILL)
    wait(worker.crashed)
    worker.submit(ProbeJob())
    assert listened(worker) == [Progress(steps=3)]
    worker.end()


def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    worker = saying(tmp_path, "deaf")
    worker.submit(ProbeJob())
    pid = worker.pid
    worker.end(grace_s=0.1)
    assert not psutil.pid_exists(pid)


def test_without_a_worker_there_is_nothing_to_hear(tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path)
    assert worker.listen(0) == []
    assert not worker.crashed()
    worker.end()


def test_lines_are_read_as_they_were_written() -> None:
    assert read_job(to_line(ProbeJob())) == ProbeJob()
    assert read_event(to_line(Failed(code=WireCode.NO_DATA))) == Failed(code=WireCode.NO_DATA)
