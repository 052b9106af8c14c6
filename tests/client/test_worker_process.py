"""The agent's hold on a worker: a real process that may crash, babble or be ended."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lone_site import LoneSite

from client.jobs import Event, Failed, ProbeDone, ProbeJob, Progress, read_event, read_job, to_line
from client.software import PACKAGES, installed
from client.worker_process import LINE_LIMIT, WorkerProcess
from shared.errors import WireCode

ROOT = Path(__file__).parents[2]
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
    deadline = time.monotonic() + 60
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


# ------------------------------------------------------------ whose code it runs

ELSEWHERE = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('client.worker', run_name='__main__')"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code, as it is installed."""
    root = tmp_path / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path / "site")
    yield lone
    lone.close()


def test_it_is_told_no_passphrase_and_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WARDROUND_PASSPHRASE", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://ward:opensesame@proxy.example:3128")
    worker = saying(tmp_path, "well")
    worker.submit(ProbeJob())
    process, deadline = psutil.Process(worker.pid), time.monotonic() + 60
    while not (environment := process.environ()) and time.monotonic() < deadline:
        time.sleep(0.01)  # it is about to become the other program
    worker.end()
    assert "PATH" in environment
    assert not any("opensesame" in value for value in environment.values())


def test_a_study_is_refused_where_the_software_was_changed_under_the_agent(site: LoneSite, tree: Path) -> None:
    command = [sys.executable, "-c", ELSEWHERE, str(tree), str(site.folder)]
    with (tree / "client" / "floors.py").open("a") as file:
        file.write("\n# as an upgrade leaves it\n")
    site.start(worker=WorkerProcess(site.folder, command=command, code=installed().code))
    site.tell(site.coordinator.open())
    for event in listened(site.hands):
        site.answering.hear(event)
    assert site.refused() == [WireCode.SOFTWARE_CHANGED]
    assert "Restart it" in site.said[-1]
    assert site.hands.pid is None and not site.hands.crashed()


def test_a_worker_that_does_not_say_what_it_runs_does_no_work(tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path, command=[sys.executable, "-c", "import sys\n" + SAYS["well"]], code="c" * 64)
    for _ in range(2):
        worker.submit(ProbeJob())
        assert listened(worker) == [Failed(code=WireCode.SOFTWARE_CHANGED)]
        assert worker.pid is None and not worker.crashed()


# ------------------------------------------------------------ a device that is lost

# The worker itself, whose first probe meets a fault; of the CPU it must be told that it is lost.
FAULTY = """
import pathlib, sys, torch
from client import worker
from client.work import workbench

class Faulty(workbench.Workbench):
    def probe(self):
        done, met = super().probe(), self._folder / "met"
        if not met.exists():
            met.touch()
            if self._device.kind == "cpu":
                self.has_lost_its_device = lambda: True
                raise RuntimeError("as a driver says it")
            torch.zeros(1, device="cuda")[torch.tensor([7], device="cuda")].cpu()
        return done

workbench.Workbench = Faulty
worker.main()
"""


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_worker_that_has_lost_its_device_ends_without_an_answer_and_the_next_one_works(
    site: LoneSite, device: str
) -> None:
    config = site.folder / "site.toml"
    config.write_text(config.read_text().replace("threads = 1", f'threads = 1\ndevice = "{device}"'))
    worker = WorkerProcess(site.folder, command=[sys.executable, "-c", FAULTY, str(site.folder)])
    worker.submit(ProbeJob())
    heard: list[Event] = []
    wait(lambda: heard.extend(worker.listen(0.2)) or worker.crashed())
    assert heard == []
    assert "another one does the work" in (site.folder / "logs" / "worker.jsonl").read_text()
    worker.submit(ProbeJob())
    (done,) = listened(worker)
    assert isinstance(done, ProbeDone) and done.place.device.partition(":")[0] == device
    worker.end()
