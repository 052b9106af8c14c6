"""A real forward proxy on the loopback address."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.loopback import free_port

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Tinyproxy:
    """One that runs: its port, and what it writes down."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def tinyproxy(folder: Path, *, to: int, login: str | None = None) -> Iterator[Tinyproxy]:
    """A tinyproxy that lets CONNECT through to one port; its absence fails under CI.

    Args:
        folder: for its files.
        to: the port.
        login: ``user:password``, if it asks.
    """
    if (command := shutil.which("tinyproxy")) is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a forward proxy: apt-get install tinyproxy-bin")
        pytest.skip("no tinyproxy here: apt-get install tinyproxy-bin")
    port, log = free_port(), folder / f"tinyproxy-{to}.log"
    lines = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", f"ConnectPort {to}", "LogLevel Connect"]
    lines += [f"BasicAuth {login.replace(':', ' ')}"] if login else []
    (folder / f"tinyproxy-{port}.conf").write_text("\n".join([*lines, ""]))
    with log.open("ab") as out:
        process = subprocess.Popen([command, "-d", "-c", folder / f"tinyproxy-{port}.conf"], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Tinyproxy(port, log)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
