"""One stock ``flower-superlink`` as a child process, and the calls to its Control API.

Decides how Flower is run, not when: restarting it and resuming studies is the supervisor's work.

1. State in memory; what must survive a restart is in our own study store.
2. The Fleet API for the sites has TLS and node authentication. The HTTP APIs, which have no
   authentication in the open-source build, listen on the loopback address alone.
3. No dependency is installed at run time; telemetry and update checks are off in every process, and each
   keeps the memory that it frees, but where this process's environment says otherwise (`shared/allocator.py`).
4. Nothing is left behind. Every process that descends from the SuperLink inherits a mark in its
   environment, so that ``stop`` and the next ``start`` find even those whose parent died.
"""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import psutil

import server.engine.leash
from server.engine.superlink_control import Control, RunStatus
from shared.allocator import VARIABLES
from shared.errors import LinkError
from shared.loopback import ADDRESS, free_port

_MARK = "WARDROUND_RUN"
_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "FLWR_LOG_LEVEL": "WARNING",  # else every poll is a line
}
_GRACE_S = 3.0

__all__ = ["RunStatus", "SuperLink", "listening"]


class SuperLink:
    """A SuperLink and everything that descends from it.

    Args:
        run: a folder for its log, Flower's home and nothing else; one SuperLink per folder.
        host: the address on which sites reach the Fleet API, e.g. ``0.0.0.0``.
        port: the Fleet API's port.
        certificate: the server's certificate; it must also name 127.0.0.1, for Flower uses it on the
            loopback address, too.
        key: its private key.
        ca: the CA certificate that signed it.
        health: address and port where it answers the standard health check of gRPC; None for nowhere.
        environment: variables for it and the ServerApps, on top of this process's.
    """

    def __init__(
        self,
        *,
        run: Path,
        host: str,
        port: int,
        certificate: Path,
        key: Path,
        ca: Path,
        health: tuple[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._run, self._host, self._port = run.resolve(), host, port
        self._certificate, self._key, self._ca = certificate, key, ca
        self._health = health
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None

    # ------------------------------------------------------------------ the process

    def start(self, *, patience_s: float = 60.0) -> None:
        """Start it and wait until it answers; ends leftovers of the same folder first.

        Call it from a thread that lives as long as the supervisor (see `server.engine.leash`).

        Raises:
            LinkError: the port is taken, a certificate or key cannot be used, or it does not come up.
        """
        self.stop()
        self._check_files()
        for host, port in ((self._host, self._port), *((self._health,) if self._health else ())):
            _check_port(host, port)
        http_port = free_port()
        self._run.mkdir(parents=True, exist_ok=True)
        log = self._run / "superlink.log"
        with contextlib.suppress(FileNotFoundError):
            log.replace(self._run / "superlink.log.1")
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, server.engine.leash.__file__, str(os.getpid()), *self._command(http_port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._variables(),
                cwd=self._run,
            )
        self._control = Control(f"{ADDRESS}:{http_port}", self._ca.read_bytes())
        self._await_ready(patience_s)

    def stop(self) -> None:
        """End it and everything that descends from it; safe to call twice."""
        if self._control is not None:
            self._control.close()
            self._control = None
        self._end_all()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def alive(self) -> bool:
        """Whether the SuperLink's own process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the SuperLink, or None before `start`."""
        return self._process.pid if self._process else None

    def children(self) -> list[psutil.Process]:
        """Every living process that carries this folder's mark: the SuperLink, its helpers, ServerApps."""
        return list(_marked(str(self._run)))

    # ------------------------------------------------------------------ the Control API

    def register(self, public_key_pem: bytes, name: str) -> int:
        """Admit a site's transport key.

        Returns:
            Its node id, which holds until the SuperLink ends; the same key twice has the same.

        Raises:
            LinkError: the SuperLink is gone or refuses the key.
        """
        return self._calls().register(public_key_pem, name)

    def keep_only(self, public_keys_pem: Set[str]) -> None:
        """Take every other transport key out: its node's next call is refused. Raises `LinkError` as `register`."""
        self._calls().keep_only(public_keys_pem)

    def held_until(self) -> Mapping[str, float]:
        """Until when (Unix seconds) each place that is taken stays so without a heartbeat, by transport key (PEM).

        Raises:
            LinkError: the SuperLink is gone.
        """
        return self._calls().held_until()

    def start_run(
        self, run_config: Mapping[str, str | int | float | bool], *, serverapp: str = "server.app:app"
    ) -> int:
        """Start a ServerApp, which finds `run_config` in its context; returns the run's id.

        Raises:
            LinkError: the SuperLink is gone or refuses the run.
        """
        return self._calls().start_run(run_config, serverapp=serverapp)

    def run_status(self, run_id: int) -> RunStatus:
        """How a run is. Raises `LinkError` if the SuperLink is gone or does not know it."""
        return self._calls().run_status(run_id)

    def stop_run(self, run_id: int) -> None:
        """End a run whose ServerApp is gone: its messages are withdrawn, so that no site waits for the rest of one.

        Raises:
            LinkError: the SuperLink is gone or does not know the run.
        """
        self._calls().stop_run(run_id)

    def _calls(self) -> Control:
        if self._control is None:
            raise LinkError("The SuperLink is not running.", remedy="Start `wardround federation serve`.")
        return self._control

    # ------------------------------------------------------------------ starting

    def _command(self, http_port: int) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "server.engine.fleet_guard", "flower-superlink"),
            *("--host", ADDRESS, "--port", str(http_port)),
            *("--fleet-api-address", _place(self._host, self._port)),
            *("--isolation", "subprocess", "--disable-runtime-dependency-installation"),
            *("--ssl-certfile", str(self._certificate.resolve()), "--ssl-keyfile", str(self._key.resolve())),
            *("--ssl-ca-certfile", str(self._ca.resolve()), "--enable-supernode-auth"),
            *(("--health-server-address", _place(*self._health)) if self._health else ()),
        ]

    def _variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        ours = {"PATH": path, "FLWR_HOME": str(self._run / "flwr"), _MARK: str(self._run)}
        return VARIABLES | os.environ | _QUIET | self._environment | ours

    def _check_files(self) -> None:
        try:
            context = ssl.create_default_context(cafile=self._ca)
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError):
            raise LinkError(
                "The server's certificate, key or CA file cannot be read, or they do not belong together.",
                remedy="Check the files in the federation folder and who may read them, or renew the certificate.",
            ) from None

    def _await_ready(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self.alive():
            if self._calls().answers() and self._fleet_answers():
                return
            time.sleep(0.05)
        self.stop()
        raise LinkError(
            "The SuperLink did not come up.",
            remedy=f"See {self._run.name}/superlink.log; the certificate must name {ADDRESS}, too.",
        )

    def _fleet_answers(self) -> bool:
        host = {"0.0.0.0": ADDRESS, "::": "::1"}.get(self._host, self._host)  # noqa: S104
        with contextlib.suppress(OSError), socket.create_connection((host, self._port), timeout=1.0):
            return True
        return False

    # ------------------------------------------------------------------ ending

    def _end_all(self) -> None:
        _signal(self.children(), signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while (left := self.children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        while left := self.children():
            _signal(left, signal.SIGKILL)
            time.sleep(0.05)


def listening(run: Path) -> list[tuple[str, int]]:
    """Where the SuperLink of a folder and all that descends from it listen now: addresses and TCP ports."""
    found = []
    for process in _marked(str(run.resolve())):
        with contextlib.suppress(psutil.Error):
            found += [
                (line.laddr.ip, line.laddr.port)
                for line in process.net_connections("tcp")
                if line.status == psutil.CONN_LISTEN
            ]
    return found


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LinkError(
                f"Port {port} on {host} cannot be used ({os.strerror(error.errno or 0).lower()}).",
                remedy="End the process that has it, or choose another port in federation.toml; invitations that were"
                " sent name the old one.",
            ) from None


def _marked(run: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(_MARK) == run and _lives(process):
                yield process


def _lives(process: psutil.Process) -> bool:
    return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
