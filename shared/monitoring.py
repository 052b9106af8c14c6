"""The page that a site or a server shows to the monitoring of its own house: `/metrics` (Prometheus) and `/healthz`.

1. There is none unless a port is named, and it is on the loopback address unless another is.
2. It only tells: two paths can be read, and nothing that a caller sends is kept, repeated or written down.
3. At most `MOST_CALLERS` are heard at a time, each for `CALL_S`; whoever comes beyond them is cut off.
4. The figures are gathered at most once in `FRESH_S`, whoever asks how often.

Which figures there are is decided in `client/figures.py` and `server/figures.py`; that none names a patient or a path,
there and by the labels that they have: study, site and code.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

from pydantic import AfterValidator, Field

from shared.errors import ResourceError
from shared.remarks import remark
from shared.section import Section

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MOST_CALLERS = 4
CALL_S = 10.0
FRESH_S = 1.0
SILENCE_S = 600.0  # longer than any step of a site's or a server's loop


def _address(text: str) -> str:
    return str(ip_address(text))


class MetricsSettings(Section):
    """Where the page is shown; `port` 0 shows none. `host` is an address of this machine."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"


class Health(NamedTuple):
    """Whether it lives, and in one word what it does."""

    alive: bool
    word: str


class Figures(Protocol):
    """What is shown; both are called from other threads than the one that works."""

    def collect(self) -> Iterable["Metric"]:
        """Every figure as it is now."""

    def health(self) -> Health:
        """Whether the site or server lives."""


class Heartbeat:
    """Whether a loop still moves, told from looks at what changes while it does.

    Args:
        moved: what changes.
        clock: seconds, from any beginning.
    """

    def __init__(self, moved: Callable[[], object], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._moved, self._clock = moved, clock
        self._last, self._at = moved(), clock()

    def stopped(self) -> bool:
        """Whether nothing has changed for `SILENCE_S`; the change is noticed at a look, and there must be looks."""
        now, seen = self._clock(), self._moved()
        if seen != self._last:
            self._last, self._at = seen, now
        return now - self._at > SILENCE_S


@contextlib.contextmanager
def shown(settings: MetricsSettings, figures: Callable[[], Figures], *, say: Callable[[str], None]) -> Iterator[None]:
    """Show the page inside this block, if the settings name a port.

    Args:
        settings: where.
        figures: makes what is shown; not called if nothing is.
        say: prints one line on the operator's console.

    Raises:
        ResourceError: the port cannot be used.
    """
    if not settings.port:
        yield
        return
    try:
        server = _Server(settings, figures(), say)
    except OSError as error:
        raise ResourceError(
            f"Port {settings.port} on {settings.host} cannot be used for metrics ({error.strerror}).",
            remedy="Name another port or host in [metrics], or remove that section.",
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    say(remark("Metrics are shown at http://{place}/metrics.", place=server.place, port=settings.port))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Listens, and holds what its calls share."""

    block_on_close = False  # a call that hangs is cut off, not waited for

    def __init__(self, settings: MetricsSettings, figures: Figures, say: Callable[[str], None]) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        host, six = settings.host, isinstance(ip_address(settings.host), IPv6Address)
        self.place = f"{f'[{host}]' if six else host}:{settings.port}"
        self.address_family = socket.AF_INET6 if six else socket.AF_INET
        self.health = figures.health
        self._registry = CollectorRegistry()
        self._registry.register(figures)
        ProcessCollector(registry=self._registry)
        self._say, self._said = say, False
        self._places = threading.BoundedSemaphore(MOST_CALLERS)
        self._page, self._made, self._lock = b"", -FRESH_S, threading.Lock()
        super().__init__((settings.host, settings.port), _Call)

    def page(self) -> bytes:
        """The figures in Prometheus' text format, 0.0.4."""
        from prometheus_client import generate_latest

        with self._lock:
            if time.monotonic() - self._made >= FRESH_S:
                self._page, self._made = generate_latest(self._registry), time.monotonic()
            return self._page

    def server_bind(self) -> None:
        """As the class above, but ask no name service."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hear a caller, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Hear a caller for `CALL_S`."""
        cut = threading.Timer(CALL_S, _cut, (request,))
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is nobody's business."""

    def complain(self, error: Exception) -> None:
        """Say once what kind of trouble the figures are in."""
        if not self._said:
            self._said = True
            kind = type(error).__name__
            self._say(remark("The metrics cannot be shown ({kind}); the work goes on.", level="error", kind=kind))


class _Call(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = CALL_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            alive, word = self.server.health()
            self._reply(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, f"{word}\n".encode())
        elif path == "/metrics":
            try:
                page = self.server.page()
            except Exception as error:  # whatever it is, the work beside this page goes on
                self.server.complain(error)
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            else:
                self._reply(HTTPStatus.OK, page, kind="text/plain; version=0.0.4; charset=utf-8")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say no by number and phrase; the class above would repeat the caller's words."""
        self.close_connection = True
        self._reply(HTTPStatus(code), f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """What is running here is not told."""
        return "wardround"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Nothing is written down of a caller."""

    def _reply(self, status: HTTPStatus, body: bytes, *, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
