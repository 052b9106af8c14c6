"""The inner APIs answer the account that serves, and nobody else on the machine."""

import ctypes
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flower_lab import Lab

from server.engine import callers
from server.engine.superlink import listening
from shared.loopback import ADDRESS

NOBODY = 65_534


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server((ADDRESS, 0)) as door:
        yield door


def test_the_kernel_says_whose_a_connection_is(door: socket.socket) -> None:
    assert callers.are_known()
    caller = socket.create_connection(door.getsockname())
    ends = caller.getsockname(), caller.getpeername()
    assert callers.account_of(*ends) == os.geteuid()
    assert callers.account_of(*reversed(ends)) is None  # nobody has accepted it: that end is no account's
    caller.close()
    assert callers.account_of(*ends) is None


def test_a_call_that_is_written_as_ipv6_is_found_too(door: socket.socket) -> None:
    with socket.socket(socket.AF_INET6) as caller:
        caller.connect((f"::ffff:{ADDRESS}", door.getsockname()[1]))
        assert callers.account_of((ADDRESS, caller.getsockname()[1]), door.getsockname()) == os.geteuid()


def test_a_machine_without_the_table_does_not_say(tmp_path: Path, door: socket.socket) -> None:
    with socket.create_connection(door.getsockname()) as caller:
        assert callers.account_of(caller.getsockname(), caller.getpeername(), root=tmp_path) is None


def test_another_account_is_refused_whatever_it_asks(lab: Lab) -> None:
    port = inner_port(lab)
    assert answer(port, "GET", "/health") == 200
    with nobody():
        for method, path in (("GET", "/health"), ("POST", "/control/list-runs"), ("GET", "/docs")):
            assert answer(port, method, path) == 403
    assert answer(port, "GET", "/health") == 200
    assert callers.looks_up(port) is True


def test_what_speaks_no_http_says_nothing(lab: Lab, door: socket.socket) -> None:
    assert callers.looks_up(lab.port) is None
    port = door.getsockname()[1]
    door.close()
    assert callers.looks_up(port) is None


def inner_port(lab: Lab) -> int:
    """The port of Flower's Control and Runtime APIs."""
    (found,) = {port for _, port in listening(lab.folder / "run")} - {lab.port}
    return found


def answer(port: int, method: str, path: str) -> int:
    """The status of an answer to a connection of its own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    line = http.client.HTTPSConnection(ADDRESS, port, timeout=30, context=context)
    try:
        line.request(method, path, body=b"{}" if method == "POST" else None)
        return line.getresponse().status
    finally:
        line.close()


@contextmanager
def nobody() -> Iterator[None]:
    """Sockets that this thread makes are another account's meanwhile (setfsuid(2))."""
    if os.geteuid():
        pytest.skip("only root can make a socket in another account's name")
    become = ctypes.CDLL(None).setfsuid
    become(NOBODY)
    try:
        yield
    finally:
        become(os.geteuid())
