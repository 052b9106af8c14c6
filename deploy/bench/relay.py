"""A line that can be broken: a TCP relay on the loopback address between one site and the server.

    WHOLE      passes everything at once
    CUT        ends every connection, and each new one as soon as it is made
    SILENT     keeps the connections and passes nothing: a firewall that drops packets; when it is over,
               what was held arrives, as TCP sends lost packets again
    SLOW       passes every byte a third of a second late, each way
    NARROW     passes 32 KiB a second, each way

Needs no privilege and no kernel feature. What the two sides make of it is not judged here.
"""

import asyncio
import json
import ssl
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from client.admission import FILE_NAME
from server.federation import load_federation
from server.membership.admissions import admission_path
from shared.admission import Access, make_admission
from shared.durable import write_atomically

PIECE_BYTES = 16 << 10
HELD_PIECES = 64  # under way in each direction; then TCP holds the sender back
TURN_S = 0.02


@dataclass(frozen=True)
class Passage:
    """How a line passes bytes: not at all, late, or so many a second (None: all)."""

    open: bool = True
    passing: bool = True
    delay_s: float = 0.0
    bytes_per_s: float | None = None


class Line(Enum):
    """The states of a line."""

    WHOLE = Passage()
    CUT = Passage(open=False, passing=False)
    SILENT = Passage(passing=False)
    SLOW = Passage(delay_s=0.33)
    NARROW = Passage(bytes_per_s=32 << 10)


class Relay:
    """One line to a port of this machine; in use between `__enter__` and `__exit__`.

    Args:
        target: the port that it leads to.
        pem: certificate and key in one file, with which it ends TLS, as a hospital's front does; None passes it on.
        onward: with which it begins TLS anew to the target, for HTTP/2, as an inspection does.

    Attributes:
        port: the port to dial instead.
        bytes_up: what it has passed to the target, TLS included.
    """

    def __init__(self, target: int, *, pem: Path | None = None, onward: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.bytes_up = 0
        self._target = target
        self._tls: ssl.SSLContext | None = None
        if pem:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(pem)
        self._onward = onward
        for context in (self._tls, onward) if self._tls and onward else ():
            context.set_alpn_protocols(["h2"])
        self._line = Line.WHOLE
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def line(self) -> Line:
        """The state of the line."""
        return self._line

    def become(self, line: Line) -> None:
        """Change the state of the line, also for the connections that are under way."""
        self._line = line
        if not line.value.open:
            asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ------------------------------------------------------------ in the relay's own thread

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._hang_up()
        if self._tls:  # a handshake that was under way makes a connection all the same
            await asyncio.sleep(10 * TURN_S)
            await self._hang_up()

    async def _hang_up(self) -> None:
        ending = list(self._connections)
        for connection in ending:
            connection.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            if self._line.value.open:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):  # one end is gone, or the line was cut
            pass
        finally:
            self._connections.discard(connection)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target, ssl=self._onward)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, far_writer, up=True))
                both.create_task(self._pass(far_reader, writer, up=False))
        except* (OSError, EOFError):
            pass
        finally:
            far_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        """One direction: pieces are noted as they come and leave when they are due."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_PIECES)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._take(reader, held))
            ends.create_task(self._give(held, writer, up=up))

    async def _take(self, reader: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            piece = await reader.read(PIECE_BYTES)
            await held.put((self._loop.time() + self._line.value.delay_s, piece))
            if not piece:
                return

    async def _give(self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, up: bool) -> None:
        while True:
            due, piece = await held.get()
            await asyncio.sleep(due - self._loop.time())
            while not self._line.value.passing:
                await asyncio.sleep(TURN_S)
            if not piece:
                raise EOFError  # HTTP/2 closes both ways at once
            writer.write(piece)
            await writer.drain()
            self.bytes_up += len(piece) if up else 0
            if (pace := self._line.value.bytes_per_s) is not None:
                await asyncio.sleep(len(piece) / pace)


def reroute(federation: Path, site: Path, port: int) -> None:
    """Let a site that was admitted dial another port of this machine, as if the coordinator had told it so.

    Args:
        federation: the federation folder.
        site: the site's folder, named as the site is.
        port: of a relay.
    """
    admission = rerouted(federation, site.name, port)
    for place in (admission_path(federation, site.name), site / FILE_NAME):
        write_atomically(place, admission, mode=0o600)


def rerouted(federation: Path, site: str, port: int) -> bytes:
    """A site's admission as the coordinator would sign it for another port."""
    said = json.loads(admission_path(federation, site).read_bytes())
    access = Access.model_validate({name: said[name] for name in Access.model_fields} | {"fleet_port": port})
    return make_admission(access, key=load_federation(federation).coordinator_key)
