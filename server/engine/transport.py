"""HTTP between the ServerApp and its SuperLink, fast enough for models.

httpx reads a TLS connection one record (16 KB) at a time and parses each by itself, which costs more than
the TLS. This transport reads a body in one go with the standard library's client, and changes nothing else:
the same requests, the same certificate check. What is called, and what an answer means, is left to the link.
"""

import http.client
import select
import ssl
import threading
from collections.abc import Callable

import httpx


def loopback_client(context: ssl.SSLContext, *, limit: Callable[[str], int]) -> httpx.Client:
    """A client over this transport; arguments as `LoopbackTransport`."""
    return httpx.Client(transport=LoopbackTransport(context, limit=limit), event_hooks={"response": [_let_go]})


class TooLong(Exception):
    """The body of an answer is longer than allowed; it was not read, and asking again would not help."""


class LoopbackTransport(httpx.BaseTransport):
    """One connection per thread to one server on this computer.

    Args:
        context: whom to trust.
        limit: bytes that the body of an answer may have, by the request's path.
        timeout_s: how long the server may be silent.
    """

    def __init__(self, context: ssl.SSLContext, *, limit: Callable[[str], int], timeout_s: float = 30.0) -> None:
        self._context, self._limit, self._timeout_s = context, limit, timeout_s
        self._mine = threading.local()
        self._all: list[tuple[http.client.HTTPSConnection, threading.Lock]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the whole answer.

        Raises:
            TooLong: its body is longer than the limit.
            httpx.TransportError: there is none.
        """
        connection, in_use = self._connection(request.url)
        with in_use:
            return self._exchange(connection, request)

    def close(self) -> None:
        """Close the connections of all threads, each when its call is over.

        A descriptor that is closed under a call may be another file's the moment after.
        """
        for connection, in_use in self._all:
            with in_use:
                connection.close()

    def _exchange(self, connection: http.client.HTTPSConnection, request: httpx.Request) -> httpx.Response:
        try:
            connection.request(request.method, request.url.raw_path.decode(), request.read(), dict(request.headers))
            with connection.getresponse() as answer:
                body = _body(answer, self._limit(request.url.path))
        except TooLong:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise httpx.ReadError(type(error).__name__, request=request) from None
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
        return httpx.Response(answer.status, headers=headers, content=body, request=request)

    def _connection(self, url: httpx.URL) -> tuple[http.client.HTTPSConnection, threading.Lock]:
        """This thread's connection; one that the server has closed meanwhile is opened anew by `request`."""
        found: tuple[http.client.HTTPSConnection, threading.Lock] | None = getattr(self._mine, "found", None)
        if found is None:
            made = http.client.HTTPSConnection(url.host, url.port, context=self._context, timeout=self._timeout_s)
            found = self._mine.found = made, threading.Lock()
            self._all.append(found)
        elif found[0].sock is not None and select.select([found[0].sock], [], [], 0)[0]:
            found[0].close()  # between two answers the server says nothing but good-bye
        return found


def _body(answer: http.client.HTTPResponse, limit: int) -> bytes:
    declared = answer.length
    if declared is not None and declared > limit:
        raise TooLong
    body = answer.read(limit + 1 if declared is None else declared)
    if len(body) > limit:
        raise TooLong
    if declared is not None and len(body) != declared:
        raise http.client.IncompleteRead(b"")
    return body


def _let_go(response: httpx.Response) -> None:
    """Called by httpx with each answer: its wrapper points back at it, and megabytes would wait for the collector."""
    response.stream = getattr(response.stream, "_stream", response.stream)
