"""The proxy that a hospital's computers go out through, by HTTP's CONNECT (RFC 9110, section 9.3.6).

gRPC speaks to it on the line itself, as `channel_options` tells it; which proxy that is, is decided in
`client/line/way.py`. `open_tunnel` does the same once, for who wants to know why there is no line: of what the proxy
answers it reads the status, and whether it takes a password at all.
"""

import re
import socket
from dataclasses import dataclass, field

from client.secret_file import basic
from shared.errors import LinkError

_LONGEST_ANSWER = 64 << 10  # bytes of its head
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_WAYS_IN = re.compile(rb"(?im)^proxy-authenticate:[ \t]*(\w+)")


@dataclass(frozen=True)
class ForwardProxy:
    """Where the proxy is, and ``user:password`` for it, if it asks."""

    host: str
    port: int
    login: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return address(self.host, self.port)

    @property
    def header(self) -> str | None:
        """What is shown to the proxy alone, as gRPC wants it."""
        return f"Proxy-Authorization:{basic(self.login)}" if self.login else None


def address(host: str, port: int) -> str:
    """Host and port as URIs write them (RFC 3986)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def channel_options(proxy: ForwardProxy | None, *, host: str, port: int) -> list[tuple[str, str | int]]:
    """What makes a gRPC channel go by this proxy, or by none, whatever the environment says.

    Args:
        proxy: None dials the server itself; otherwise the channel's target is the proxy.
        host: the server's name or address, which its certificate must have.
        port: the server's port.
    """
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if proxy is not None:
        options += [
            ("grpc.http_connect_server", address(host, port)),
            ("grpc.ssl_target_name_override", host),
            ("grpc.default_authority", address(host, port)),
        ]
        options += [("grpc.http_connect_headers", proxy.header)] if proxy.header else []
    return options


def open_tunnel(proxy: ForwardProxy, *, host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to the server through the proxy.

    Raises:
        LinkError: in one sentence, why there is none.
    """
    line, where = _reach(proxy, timeout_s), address(host, port)
    try:
        refusal = _ask(line, proxy, where)
    except OSError:
        refusal = LinkError(f"The proxy {proxy} breaks off.", remedy="Ask who runs it to look into its log.")
    if refusal is not None:
        line.close()
        raise refusal
    return line


def _ask(line: socket.socket, proxy: ForwardProxy, where: str) -> LinkError | None:
    said = [f"CONNECT {where} HTTP/1.1", f"Host: {where}", *([proxy.header] if proxy.header else [])]
    line.sendall("\r\n".join([*said, "", ""]).encode())
    answer = _answer(line)
    if (found := _STATUS.match(answer)) is None:
        return LinkError(
            f"{proxy} does not answer as a proxy.",
            remedy="Check its port: server.proxy in site.toml, or https_proxy.",
        )
    if (status := int(found[1])) // 100 != 2:
        return _refused(proxy, where, status, [way.lower() for way in _WAYS_IN.findall(answer)])
    return None


def _reach(proxy: ForwardProxy, timeout_s: float) -> socket.socket:
    remedy = "Check server.proxy in site.toml, or https_proxy, and whether the proxy runs."
    try:
        return socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
    except socket.gaierror:
        raise LinkError(f"The name of the proxy, {proxy.host}, is not known.", remedy=remedy) from None
    except ConnectionRefusedError:
        raise LinkError(f"Nothing answers at the proxy {proxy}.", remedy=remedy) from None
    except OSError:
        raise LinkError(f"No way to the proxy {proxy}.", remedy=remedy) from None


def _answer(line: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_ANSWER and (piece := line.recv(4096)):
        answer += piece
    return answer.partition(b"\r\n\r\n")[0] + b"\r\n"


def _refused(proxy: ForwardProxy, where: str, status: int, ways_in: list[bytes]) -> LinkError:
    if status in (401, 407):
        if ways_in and b"basic" not in ways_in:
            return LinkError(
                f"The proxy {proxy} takes no password, but another way of signing in.",
                remedy=f"Ask who runs it to let this machine through to {where}, or to permit basic authentication.",
            )
        if proxy.login is None:
            return LinkError(
                f"The proxy {proxy} asks for a user and a password.",
                remedy="Write user:password into a file of mode 0600; name it as server.proxy_login_file in site.toml.",
            )
        return LinkError(
            f"The proxy {proxy} does not take this site's user and password (HTTP {status}).",
            remedy="Correct them in the file of server.proxy_login_file, or in https_proxy.",
        )
    if status in (500, 502, 503, 504):
        return LinkError(
            f"The proxy {proxy} does not reach {where} (HTTP {status}).",
            remedy="Check that the server runs, its name and port, and that the proxy may go there.",
        )
    return LinkError(
        f"The proxy {proxy} does not let this site through to {where} (HTTP {status}).",
        remedy=f"Ask who runs it to permit CONNECT to {where}.",
    )
