"""The stock side of `wardround bench rounds`: `flower-superlink`, `flower-supernode` and FedAvg.

Everything is used as Flower documents it: keys by ssh-keygen, TLS with the CA's certificate, node
authentication, the app in `stock_app/` started by `flwr run`. Where Flower's settings allow, they favour speed: no
dependency is installed at run time, and no evaluation trip is asked for.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

import deploy.bench
from deploy.provision import provision
from server.engine.superlink_control import Control
from shared.errors import ResourceError
from shared.loopback import free_port

METHOD = (
    "Time stamps of a FedAvg strategy at each configure_train and after the last round: from one to the next, "
    "aggregation included. The first round of a block is left out. The ClientApp imports no torch, adds a number to "
    "the array, and answers."
)
_CONNECTION = "bench"
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
_START_PATIENCE_S = 60.0
_ROUND_PATIENCE_S = 120.0
_TURN_S = 0.2


class StockRounds:
    """A SuperLink and its SuperNodes, and one run of the app per block of rounds.

    Args:
        root: an empty folder for all of it.
        sites: how many SuperNodes.
        array_bytes: size of the array that travels.
    """

    def __init__(self, root: Path, *, sites: int, array_bytes: int) -> None:
        self._root, self._sites, self._array_bytes = root, sites, array_bytes
        self._port, self._http_port = free_port(), free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._server = provision(
            root, name="stock", host="127.0.0.1", fleet_port=self._port, sites=[], now=int(time.time())
        ).federation
        self._ca = self._server / "ca" / "certificate.pem"
        self._app = Path(shutil.copytree(Path(deploy.bench.__path__[0]) / "stock_app", root / "noop"))
        self._environment = os.environ | _QUIET | {"FLWR_HOME": str(root / "flwr"), "PATH": _path()}
        (root / "flwr").mkdir()
        address = f'address = "127.0.0.1:{self._http_port}"\nroot-certificates = "{self._ca}"\n'
        (root / "flwr" / "config.toml").write_text(f"[superlink.{_CONNECTION}]\n{address}", encoding="utf-8")

    def __enter__(self) -> Self:
        try:
            self._start_superlink()
            control = Control(f"127.0.0.1:{self._http_port}", self._ca.read_bytes())
            self._await(control.answers, "the SuperLink to answer", patience_s=_START_PATIENCE_S)
            for number in range(1, self._sites + 1):
                key = self._key(f"site-{number}")
                control.register(_pem(key), f"site-{number}")
                self._start_supernode(key)
            control.close()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def block(self, name: str, *, repetitions: int) -> dict[str, Any]:
        """Run the app once; seconds of each round but the first.

        Raises:
            ResourceError: the run could not be started, or did not come to its end.
        """
        stamps, rounds = self._root / f"{name}.stamps", repetitions + 1
        self._flwr_run(
            f'stamps="{stamps}" rounds={rounds} sites={self._sites} array-bytes={self._array_bytes}',
        )
        self._await(
            lambda: len(_lines(stamps)) > rounds, "the end of the rounds", patience_s=rounds * _ROUND_PATIENCE_S
        )
        times = [float(line) for line in _lines(stamps)]
        return {"seconds": [round(after - before, 3) for before, after in pairwise(times)][1:]}

    def stop(self) -> None:
        """End every process that was started here, and all that descend from them."""
        family = [p for process in self._processes for p in _family(process.pid)]
        for process in self._processes:
            process.terminate()
        psutil.wait_procs(family, timeout=10.0)
        for left in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    # ------------------------------------------------------------ processes

    def _start_superlink(self) -> None:
        server = self._server / "server"
        self._spawn(
            "superlink",
            *("flower-superlink", "--host", "127.0.0.1", "--port", str(self._http_port)),
            *("--fleet-api-address", f"127.0.0.1:{self._port}", "--isolation", "subprocess"),
            *("--ssl-certfile", str(server / "certificate.pem"), "--ssl-keyfile", str(server / "key.pem")),
            *("--ssl-ca-certfile", str(self._ca), "--enable-supernode-auth"),
            "--disable-runtime-dependency-installation",
        )

    def _start_supernode(self, key: Path) -> None:
        self._spawn(
            key.name,
            *("flower-supernode", "--superlink", f"127.0.0.1:{self._port}", "--root-certificates", str(self._ca)),
            *("--auth-supernode-private-key", str(key), "--isolation", "subprocess", "--port", str(free_port())),
        )

    def _spawn(self, name: str, *command: str) -> None:
        with (self._root / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=self._root,
                    start_new_session=True,
                )
            )

    def _key(self, name: str) -> Path:
        """A P-384 key pair in OpenSSH's form, which is what a SuperNode reads."""
        key = self._root / name
        self._call("ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-C", "", "-f", str(key))
        return key

    def _flwr_run(self, config: str) -> None:
        self._call("flwr", "run", str(self._app), _CONNECTION, "--run-config", config)

    def _call(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=False)
        if done.returncode:
            raise ResourceError(f"{command[0]} failed: {done.stderr.strip()[-300:]}", remedy="Read its words.")

    def _await(self, condition: Any, what: str, *, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > deadline:
                raise ResourceError(
                    f"The stock engine did not get to {what}.", remedy=f"Read the logs in {self._root.name}."
                )
            time.sleep(_TURN_S)


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _pem(key: Path) -> bytes:
    """The public half as SubjectPublicKeyInfo PEM."""
    command = ["ssh-keygen", "-e", "-m", "PKCS8", "-f", f"{key}.pub"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []
