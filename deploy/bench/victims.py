"""Which process is which in a running local federation, for the benchmarks that break one."""

from enum import StrEnum
from pathlib import Path

import psutil

from deploy.local import LocalFederation
from server.owner import read_owner
from server.study_folder import StudyFolder
from shared.errors import ResourceError


class Victim(StrEnum):
    """A process that can be hit."""

    AGENT = "agent"
    WORKER = "worker"
    SERVERAPP = "serverapp"
    SUPERLINK = "superlink"
    SUPERVISOR = "supervisor"


def process_of(victim: Victim, federation: LocalFederation, folder: StudyFolder, *, site: str) -> psutil.Process:
    """The process as it runs now.

    Args:
        victim: which.
        federation: the running one.
        folder: the study whose ServerApp may be meant.
        site: whose agent or worker may be meant.

    Raises:
        ResourceError: it does not run now.
    """
    try:
        match victim:
            case Victim.AGENT:
                return psutil.Process(federation.processes[site].pid)
            case Victim.WORKER:
                return _child(federation.processes[site].pid, "client.worker")
            case Victim.SERVERAPP:
                return _owner(folder)
            case Victim.SUPERLINK:
                return _child(federation.processes["server"].pid, "flower-superlink")
            case Victim.SUPERVISOR:
                return psutil.Process(federation.processes["server"].pid)
    except psutil.NoSuchProcess:
        raise _absent(victim.value) from None


def _owner(folder: StudyFolder) -> psutil.Process:
    owner = read_owner(folder.path)
    if owner is None or not owner.alive():
        raise _absent("serverapp")
    return psutil.Process(owner.pid)


def _child(parent: int, word: str) -> psutil.Process:
    """The child of a process whose command line has this word, alone or as a file's name."""
    for child in psutil.Process(parent).children():
        if any(Path(part).name == word for part in child.cmdline()):
            return child
    raise _absent(word)


def _absent(what: str) -> ResourceError:
    return ResourceError(f"There is no {what} process to hit.", remedy="Read the logs of the federation.")
