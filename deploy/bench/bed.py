"""Where a benchmark breaks things: a real federation in one folder, and what is left of it.

Runs studies and looks for processes and ports. What is broken, and what it shows, is the
benchmark's matter.
"""

import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from deploy.local import LocalFederation
from server.launch import launch
from server.study_folder import StudyFolder, StudyState
from shared.clock import utc_now
from shared.errors import ConfigError, StudyError
from shared.ledger import read_entries
from shared.study import parse_study

STUDY_PATIENCE_S = 300.0
SETTLE_S = 15.0
TURN_S = 0.05
ENDED = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)


@contextlib.contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """A folder for one benchmark: a new one in `keep`, which stays, or one that goes away with the block.

    Raises:
        ConfigError: `keep` exists.
    """
    if keep is not None:
        if keep.exists():
            raise ConfigError(f"{keep} exists already.", remedy="Name a new folder with --keep.")
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as folder:
        yield Path(folder).resolve()


def start_light(federation: LocalFederation, *, group: int) -> None:
    """Start all sites as light ones, so many to a process; each process stops with the federation."""
    names = list(federation.sites)
    for first in range(0, len(names), group):
        members = names[first : first + group]
        folders = [str(federation.sites[name]) for name in members]
        federation.start_command(members[0], [sys.executable, "-m", "deploy.bench.light_site", *folders])


def begin(federation: LocalFederation) -> None:
    """Start the server and every site."""
    federation.serve()
    for site in federation.sites:
        federation.start_site(site)


def queue(federation: LocalFederation, text: str) -> StudyFolder:
    """Launch a study, as `wardround study launch` does; studies run one after the other."""
    return launch(federation.federation, parse_study(text), source=text, start_model=None, now=utc_now())


def await_end(federation: LocalFederation, folder: StudyFolder, *, patience_s: float = STUDY_PATIENCE_S) -> StudyState:
    """Wait until a study is over, however it ended, for at most so many seconds.

    Raises:
        ResourceError: a process of the federation ended, or the study took too long.
    """
    federation.wait_for(
        lambda: folder.standing().state in ENDED, patience_s=patience_s, what=f"the end of {folder.name}"
    )
    return folder.standing().state


def finish(federation: LocalFederation, folder: StudyFolder, *, patience_s: float = STUDY_PATIENCE_S) -> None:
    """Wait until a study is finished.

    Raises:
        StudyError: it ended otherwise.
        ResourceError: as `await_end`.
    """
    if await_end(federation, folder, patience_s=patience_s) is not StudyState.FINISHED:
        standing = folder.standing()
        raise StudyError(standing.reason or "The study ended early.", remedy=standing.remedy or "Read the logs.")


def seconds(folder: StudyFolder) -> float:
    """How long a study took, from its first journal entry to its last."""
    times = [datetime.fromisoformat(entry.time) for entry in read_entries(folder.path / "journal.jsonl")]
    return round((times[-1] - times[0]).total_seconds(), 2)


# ------------------------------------------------------------------ what is left


@dataclass(frozen=True)
class Remains:
    """What nobody holds any more and is still there."""

    processes: int
    ports: int

    @property
    def count(self) -> int:
        """Both together."""
        return self.processes + self.ports


def strays(federation: LocalFederation, *, patience_s: float = SETTLE_S) -> int:
    """Processes of this federation that descend from none of those we started; waits for them to end."""
    return _settled(lambda: [p.pid for p in _of(federation.root) if p.pid not in _held(federation)], patience_s)


def listening(federation: LocalFederation) -> set[int]:
    """TCP ports on which the federation's processes listen now."""
    return {federation.port} | {port for process in _of(federation.root) for port in _ports(process)}


def remains(federation: LocalFederation, ports: Iterable[int], *, patience_s: float = SETTLE_S) -> Remains:
    """What a stopped federation left: processes that name its folder, and ports that still answer."""
    processes = _settled(lambda: list(_of(federation.root)), patience_s)
    return Remains(processes, _settled(lambda: [port for port in ports if _answers(port)], patience_s))


def _settled(left: Callable[[], Sequence[object]], patience_s: float) -> int:
    """How many are left when none is, or patience ends."""
    deadline = time.monotonic() + patience_s
    while (found := len(left())) and time.monotonic() < deadline:
        time.sleep(TURN_S)
    return found


def _of(root: Path) -> Iterator[psutil.Process]:
    """Living processes whose command line or environment names the folder."""
    word = f"{root}{os.sep}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(word in part for part in (*process.cmdline(), *process.environ().values())):
                yield process


def _held(federation: LocalFederation) -> set[int]:
    return {pid for family in federation.tree().values() for pid in family}


def _ports(process: psutil.Process) -> list[int]:
    with contextlib.suppress(psutil.Error):
        return [c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return []


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False
