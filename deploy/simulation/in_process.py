"""The default engine: all virtual sites in this process, without Ray and without a socket.

Decides how the cores are used: one lane per core, each a thread that answers for one site at a time
with a single torch thread. Measured on small networks, lanes scale better than torch's own threads, and
they give the bytes of a deployment whose workers have one thread. A network whose layers draw random
numbers gets one lane, because torch's generator belongs to the whole process. Nothing waits for the disk:
a simulation that a power cut takes is run again.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from flwr.supercore.task_identity import TaskIdentity

from client.app import FOLDER_KEY, app
from client.work.device import use_threads
from deploy.simulation.grid import RUN_ID, InProcessGrid
from server.app import serve
from server.study_folder import find_study
from shared.durable import never_waiting
from shared.study import Study

_DRAWING = frozenset({"efficientnet-b0", "vae"})  # layers are dropped at random, or codes drawn
_SWITCH_S = 0.0005  # Python has 0.005
_FILES_PER_SITE = 8  # three memory maps, and what is open for a moment


def lanes_for(study: Study, cores: int) -> int:
    """How many sites may work at a time."""
    return 1 if study.model.name in _DRAWING else cores


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def simulate_here(federation: Path, sites: Path, study: str, *, cores: int) -> None:
    """Run one queued study to its end; what the sites say goes to `sites.log` beside their folders.

    Args:
        federation: the federation's folder.
        sites: holds one folder per site that was provisioned and has a site.toml.
        study: the name of a study that was launched.
        cores: how many cores to use.

    Raises:
        WardroundError: the study cannot be run.
    """
    folders = sorted(path.parent for path in sites.glob("*/site.toml"))
    _allow_files(len(folders) * _FILES_PER_SITE)
    _be_a_task_of_flower()
    nodes = [{FOLDER_KEY: str(folder)} for folder in folders]
    lanes = lanes_for(find_study(federation, study).study(), cores)
    grid = InProcessGrid(app, nodes, lanes=lanes, begin=_one_thread)
    with (
        (sites.parent / "sites.log").open("a", encoding="utf-8") as log,
        redirect_stderr(log),
        never_waiting(),
        _short_turns(),
        grid,
    ):
        serve(grid, federation, study)


@contextmanager
def _short_turns() -> Iterator[None]:
    """Inside, a thread that comes back from torch waits a tenth as long for its turn in Python."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _one_thread() -> None:
    use_threads(1)


def _be_a_task_of_flower() -> None:
    """What Flower's own engines tell a process before messages can be made in it."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, 0


def _allow_files(wanted: int) -> None:
    """Raise this process's own limit of open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted + 256:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 256, most), hard))
