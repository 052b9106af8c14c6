"""The line that can be broken, between two real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.join import load_enrolment
from deploy.bench.relay import Line, Relay, reroute
from deploy.provision import provision

PATIENCE_S = 60.0


@contextmanager
def echo() -> Iterator[int]:
    """A server that says everything back; gives its port."""

    def serve(line: socket.socket) -> None:
        with line:
            try:
                while said := line.recv(1 << 16):
                    line.sendall(said)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(line,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


@contextmanager
def dialled(port: int, *, patience_s: float = PATIENCE_S) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as line:
        yield line


def received(line: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = line.recv(1 << 16)
        if not piece:
            break
        got += piece
    return got


@pytest.fixture
def relay() -> Iterator[Relay]:
    with echo() as target, Relay(target) as relay:
        yield relay


def test_a_whole_line_passes_everything_both_ways(relay: Relay) -> None:
    said = bytes(range(256)) * 4000
    with dialled(relay.port) as line:
        threading.Thread(target=line.sendall, args=(said,)).start()
        assert received(line, len(said)) == said
    assert relay.bytes_up == len(said)


def test_a_cut_line_ends_what_is_under_way_and_what_is_begun_until_it_is_mended(relay: Relay) -> None:
    with dialled(relay.port) as line:
        line.sendall(b"before")
        assert received(line, 6) == b"before"
        relay.become(Line.CUT)
        assert _ended(line)
    with dialled(relay.port) as line:
        assert _ended(line)
    relay.become(Line.WHOLE)
    with dialled(relay.port) as line:
        line.sendall(b"after")
        assert received(line, 5) == b"after"


def test_a_silent_line_keeps_what_it_was_given_until_it_speaks_again(relay: Relay) -> None:
    with dialled(relay.port) as line:
        relay.become(Line.SILENT)
        line.sendall(b"held")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(PATIENCE_S)
        relay.become(Line.WHOLE)
        assert received(line, 4) == b"held"


@pytest.mark.parametrize(("state", "size", "least_s"), [(Line.SLOW, 1, 0.66), (Line.NARROW, 40 << 10, 0.4)])
def test_a_slow_or_narrow_line_takes_its_time_and_loses_nothing(
    relay: Relay, state: Line, size: int, least_s: float
) -> None:
    relay.become(state)
    with dialled(relay.port) as line:
        start = time.monotonic()
        line.sendall(bytes(size))
        assert received(line, size) == bytes(size)
        assert time.monotonic() - start >= least_s  # sleeping never ends early; how late it ends is not asked


def test_nothing_listens_or_runs_when_the_block_is_left() -> None:
    with echo() as target, Relay(target) as relay, dialled(relay.port) as line:
        line.sendall(b"x")
        assert received(line, 1) == b"x"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", relay.port), timeout=1.0)
    assert not any(thread.name == "relay" for thread in threading.enumerate())


def test_a_line_to_nobody_ends_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        free = door.getsockname()[1]
    with Relay(free) as relay, dialled(relay.port) as line:
        assert _ended(line)


def test_a_site_dials_the_port_that_it_was_sent_to(tmp_path: Path) -> None:
    made = provision(tmp_path, name="f", host="127.0.0.1", fleet_port=4000, sites=["a"], now=int(time.time()))
    before = load_enrolment(made.sites["a"]).reach
    reroute(made.federation, made.sites["a"], 4001)
    after = load_enrolment(made.sites["a"]).reach
    assert (before.port, after.port) == (4000, 4001)
    assert (after.host, after.ca_pem) == (before.host, before.ca_pem)


def _ended(line: socket.socket) -> bool:
    """Whether the other end hung up, in whichever way."""
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True
