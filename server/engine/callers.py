"""Who calls on the loopback address: the SuperLink's inner APIs, which ask for no password, answer one account alone.

Flower's Control and Runtime APIs listen on 127.0.0.1, which every account of the machine reaches. The kernel knows
whose a connection is (Linux, proc(5), ``/proc/PID/net/tcp``; the idea is RFC 1413's, but not the caller's word):

1. A connection is looked up once, when it is made; both of its ends must be there, and the caller's still open.
2. Whose account is not the server's own is answered 403 to whatever it asks, unread. Root is another account, too.
3. Every answer says that callers are looked up, so that `wardround federation check` can tell.
4. Where the kernel does not say (another system, a hidden /proc), nobody is refused, and the check warns.
"""

import http.client
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from shared.loopback import ADDRESS

PATIENCE_S = 5.0
SAID = ("x-wardround-callers", "own-account")
_TABLES = (("proc/self/net/tcp", ""), ("proc/self/net/tcp6", "0000000000000000FFFF0000"))  # IPv4; as IPv6 writes it
_ESTABLISHED = "01"  # of any other state the kernel may have forgotten whose it is, and says 0
_NO_SOCKET = "0"  # an inode; nobody has such an end, or nobody has it yet
_REFUSAL = b"Only the account that runs this server may ask here.\n"

Place = tuple[str, int]


def account_of(caller: Place, called: Place, *, root: Path = Path("/")) -> int | None:
    """The user id that holds the calling end of a TCP connection on this machine; None if the kernel does not say.

    Args:
        caller: IPv4 address and port of the calling end.
        called: those of the end that was called.
        root: the folder that has `proc`.
    """
    for table, prefix in _TABLES:
        ends = [prefix + _written(place) for place in (caller, called)]
        for columns in _lines(root / table):
            if columns[1:4] == [*ends, _ESTABLISHED] and columns[9] != _NO_SOCKET:
                return int(columns[7])
    return None


def are_known() -> bool:
    """Whether this machine says whose a connection is; tried with one of our own."""
    with socket.create_server((ADDRESS, 0)) as door, socket.create_connection(door.getsockname()) as caller:
        return account_of(caller.getsockname(), caller.getpeername()) == os.geteuid()


class OwnAccount(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """uvicorn's protocol for one connection, under the module's rules."""

    def connection_made(self, transport: Any) -> None:
        """Rules 1 and 2 of the module."""
        super().connection_made(transport)
        if self.client is None or self.server is None or account_of(self.client, self.server) != os.geteuid():
            self.app = _refuse


def looks_up(port: int) -> bool | None:
    """Whether what answers HTTP over TLS at a port of the loopback address says rule 3; None if nothing does."""
    unchecked = ssl.create_default_context()  # it is not told anything, and what it says is on this machine
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    line = http.client.HTTPSConnection(ADDRESS, port, timeout=PATIENCE_S, context=unchecked)
    try:
        line.request("GET", "/health")
        return line.getresponse().headers.get(SAID[0]) == SAID[1]
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()


def run(**how: Any) -> None:
    """`uvicorn.run` under the module's rules, which hold for HTTP alone: WebSockets would be a second door."""
    uvicorn.run(**how, http=OwnAccount, ws="none", headers=[SAID])


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that says no."""
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": _REFUSAL})


def _written(place: Place) -> str:
    """As the kernel writes it: the address as one number of this machine's byte order, then the port."""
    address, port = place
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"


def _lines(table: Path) -> Iterator[list[str]]:
    try:
        text = table.read_text(encoding="ascii")
    except OSError:
        return
    yield from (line.split() for line in text.splitlines()[1:])
