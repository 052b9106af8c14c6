"""The way to the server: straight, or through a proxy that the environment names.

gRPC, which carries the line, takes the first of `grpc_proxy`, `https_proxy` and `http_proxy` that is set, in lower
case, unless `no_grpc_proxy` or `no_proxy` names the server (gRPC Core, environment variables). The checks of the line
take the same way.
"""

import base64
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from shared.errors import ConfigError, LinkError

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPT = ("no_grpc_proxy", "no_proxy")
_TIMEOUT_S = 10.0
_LONGEST_ANSWER = 16 << 10  # bytes


@dataclass(frozen=True)
class Proxy:
    """A forward proxy; `variable` is the one that names it."""

    variable: str
    host: str
    port: int
    login: str | None = field(default=None, repr=False)  # user:password

    @property
    def where(self) -> str:
        """Its address, without user and password."""
        return f"{self.host}:{self.port}"


def proxy_for(host: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to a host, or None if the way is straight.

    Raises:
        ConfigError: the variable holds no address of a proxy.
    """
    variable = next((name for name in VARIABLES if environment.get(name)), None)
    passed_by = next((environment[name] for name in _EXCEPT if environment.get(name)), "")
    entries = [entry.strip().lstrip(".") for entry in passed_by.split(",")]
    if variable is None or any(entry and (host == entry or host.endswith(f".{entry}")) for entry in entries):
        return None
    text = environment[variable]
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        address, port = parts.hostname, parts.port or 80
    except ValueError:
        address, port = None, 0
    if not address:
        raise ConfigError(
            f"The variable {variable} is set, and is no address of a proxy.",
            remedy=f"Write {variable}=http://HOST:PORT, or unset it.",
        )
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return Proxy(variable, address, port, login)


def open_line(host: str, port: int, proxy: Proxy | None, *, timeout_s: float = _TIMEOUT_S) -> socket.socket:
    """A TCP connection to the server, through the proxy if there is one (RFC 9110, 9.3.6).

    Raises:
        OSError: no connection to the server, or to the proxy.
        LinkError: the proxy refuses to connect to the server.
    """
    if proxy is None:
        return socket.create_connection((host, port), timeout=timeout_s)
    line = socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
    try:
        _connect(line, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", proxy)
    except BaseException:
        line.close()
        raise
    return line


def _connect(line: socket.socket, target: str, proxy: Proxy) -> None:
    asked = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.login is not None:
        asked += f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}\r\n"
    line.sendall(f"{asked}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_ANSWER:
        if not (more := line.recv(1)):
            break
        answer += more
    status = answer.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return
    said = status[0].decode("ascii", "replace")[:3] if status else "nothing"
    needs = "Put user and password into the variable" if said == "407" else "Ask whoever runs it to permit CONNECT"
    raise LinkError(
        f"The proxy {proxy.where} does not connect to {target} (it answers {said}).",
        remedy=f"{needs}, or name the server in no_proxy if it can be reached straight.",
    )
