"""A federation on this machine: the server and its sites as the very processes that others run.

Each site is started by the command that a hospital types, with its own folder, keys, cache and
process tree. Everything is stopped by process id, and nothing is left behind: SIGTERM ends the block
as an exception does, and the processes end by themselves when their owner was killed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

import psutil

from client.imaging.settings import DataSettings
from client.policy import Policy
from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.provision import provision
from shared.canonical import digest
from shared.errors import ResourceError
from shared.loopback import free_port
from shared.parent import PARENT_VARIABLE

STOP_PATIENCE_S = 20.0
TURN_S = 0.1
TELLS_ALL = Policy(  # of nobody's patients
    smallest_cell=1, score_histograms=True, subgroup_scores=True, patients_per_round_at_least=1, memorisation=True
)


def wardround_command() -> str:
    """The `wardround` command of this installation."""
    return str(Path(sys.executable).with_name("wardround"))


class LocalFederation:
    """One server and several sites, started and stopped together.

    Args:
        root: gets `federation/`, `sites/NAME/` and `logs/`.
        data: each site's images, by site name.
        threads: CPU threads of each worker.
        device: where the workers compute.
        seed: fixes which patients are for testing; None lets the federation draw its salt.
        variables: more of the environment of everything that is started.
        policy: of each site.

    Attributes:
        processes: by name, `server` or a site's.
    """

    def __init__(
        self,
        root: Path,
        data: Mapping[str, DataSettings],
        *,
        threads: int = 1,
        device: str = "auto",
        seed: int | None = None,
        variables: Mapping[str, str] | None = None,
        policy: Policy = TELLS_ALL,
    ) -> None:
        self.root = root
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._variables = dict(variables or {})
        self._logs = root / "logs"
        self._logs.mkdir(parents=True)
        self._on_sigterm: signal._HANDLER = signal.SIG_DFL
        places = provision(
            root,
            name="demo",
            host="127.0.0.1",
            fleet_port=self.port,
            sites=list(data),
            now=int(time.time()),
            patient_salt=None if seed is None else digest(f"wardround demo {seed}".encode()),
        )
        self.federation = places.federation
        self.sites = places.sites
        compute = ComputeSettings(device=device, threads=threads)
        for name, folder in self.sites.items():
            settings = SiteSettings(site=AboutSite(name=name), data=data[name], compute=compute, policy=policy)
            write_settings(folder / "site.toml", settings)

    def serve(self) -> None:
        """Start the server."""
        self.start("server", ["federation", "serve", str(self.federation)])

    def start_site(self, name: str) -> None:
        """Start one site as a hospital does."""
        self.start(name, ["site", "start", "--config", str(self.sites[name] / "site.toml")])

    def start(self, name: str, words: list[str]) -> None:
        """Run one `wardround` command in a session of its own, its words in `logs/NAME.log`."""
        self.start_command(name, [wardround_command(), *words])

    def start_command(self, name: str, command: list[str]) -> None:
        """Run any command in the place of a server or site; see `start`."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | self._variables | {PARENT_VARIABLE: str(os.getpid())},
            )

    def tree(self) -> dict[str, list[int]]:
        """Process ids by name: the process itself first, then all that descend from it."""
        return {name: [p.pid for p in _family(process.pid)] for name, process in self.processes.items()}

    def wait_for(self, condition: Callable[[], bool], *, patience_s: float, what: str) -> None:
        """Turn until a condition holds.

        Raises:
            ResourceError: it did not within `patience_s` seconds, or a process of ours ended.
        """
        deadline = time.monotonic() + patience_s
        while not condition():
            dead = [name for name, process in self.processes.items() if process.poll() not in (None, 0)]
            if dead or time.monotonic() > deadline:
                why = f"{', '.join(dead)} ended" if dead else f"{patience_s:.0f} s passed"
                raise ResourceError(
                    f"The local federation did not get to: {what} ({why}).", remedy=f"Read the logs in {self._logs}."
                )
            time.sleep(TURN_S)

    def stop(self, name: str) -> None:
        """Ask one process to end as a service manager does, then insist."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        family = _family(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for left in (p for p in family if p.is_running()):
            left.kill()

    def stop_all(self) -> None:
        """Stop the sites together, then the server."""
        for name in self.sites:
            if name in self.processes:
                self.processes[name].send_signal(signal.SIGTERM)
        for name in [*self.sites, "server"]:
            self.stop(name)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            self._on_sigterm = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
