"""A service manager is told what sd_notify(3) says, over a real socket; where there is none, nothing happens."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.service_manager import feed_watchdog, tell


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@wardround-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(name.replace("@", "\0", 1) if name[0] == "@" else name)
        line.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield line


def test_words_arrive_as_one_message(manager: socket.socket) -> None:
    tell("READY=1", "STATUS=waiting")
    assert manager.recv(100) == b"READY=1\nSTATUS=waiting"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1"])
def test_an_absent_manager_is_no_trouble(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell("READY=1")


def test_the_watchdog_is_fed_while_the_work_moves_and_no_longer(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    turns = iter(range(3))
    feed_watchdog(lambda: next(turns, 2))
    assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    manager.settimeout(0.3)
    with pytest.raises(TimeoutError):
        manager.recv(100)


def test_nobody_is_fed_who_did_not_ask(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    feed_watchdog(time.monotonic)
    manager.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager.recv(100)
