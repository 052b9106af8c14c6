"""Who is who in a local federation: the process id behind each part of it, found by its command line."""

import contextlib
from pathlib import Path

import psutil

from deploy.local import LocalFederation

SERVER_PROGRAMS = {"flwr-serverapp": "serverapp", "flower-superlink": "superlink", "flower-superexec": "superexec"}
WORKER = "client.worker"


def server_parts(federation: LocalFederation) -> dict[str, int]:
    """Process ids of the supervisor, the SuperLink and its helper and, while there is one, the ServerApp."""
    supervisor = federation.processes["server"].pid
    return {"supervisor": supervisor} | _below(supervisor, SERVER_PROGRAMS)


def site_parts(federation: LocalFederation) -> dict[str, int]:
    """Process ids of every site's agent and, while there is one, its worker."""
    found = {}
    for site in federation.sites:
        if site in federation.processes:
            agent = federation.processes[site].pid
            found[f"{site} agent"] = agent
            found |= {f"{site} {part}": pid for part, pid in _below(agent, {WORKER: "worker"}).items()}
    return found


def _below(pid: int, programs: dict[str, str]) -> dict[str, int]:
    """Part -> process id of the descendants whose command names one of these programs."""
    found: dict[str, int] = {}
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                # As in `python -P -m client.worker FOLDER`
                words = {Path(word).name for word in process.cmdline()[:5]}
                found |= {programs[program]: process.pid for program in words & programs.keys()}
    return found
