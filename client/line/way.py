"""`[server]` of site.toml: by which way a site goes to the server, and who may open the line on it.

1. `proxy` is the forward proxy; without it the one of `https_proxy` in the environment, unless `no_proxy` names the
   server or that is this very machine. A password comes from a file or from the environment, not from site.toml.
2. An authority beside the federation's own is trusted where `accept_tls_inspection` says so, and nowhere else.

What the proxy answers is the business of `client/line/forward_proxy.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from client.line.forward_proxy import ForwardProxy
from client.secret_file import read_login
from shared import loopback
from shared.canonical import digest
from shared.certificates import authority_names
from shared.errors import ConfigError
from shared.section import Section

_LARGEST = 64 << 10  # bytes of a file of authorities


class ServerSettings(Section):
    """How the server is reached. Relative paths count from the folder that holds site.toml."""

    proxy: Annotated[str, Field(pattern=r"^http://[A-Za-z0-9._-]{1,253}:\d{1,5}/?$")] | None = None
    proxy_login_file: Path | None = None
    accept_tls_inspection: bool = False
    inspection_ca: Path | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.proxy_login_file and not self.proxy:
            raise ValueError("proxy_login_file goes with proxy")
        if self.proxy and not (urlsplit(self.proxy).port or 0) > 0:
            raise ValueError("proxy names no port")
        if self.accept_tls_inspection != (self.inspection_ca is not None):
            raise ValueError("accept_tls_inspection = true and inspection_ca go together")
        return self


@dataclass(frozen=True)
class Way:
    """How one site goes to the server; by itself directly, and inspected by nobody.

    `chosen` is the proxy of site.toml, `environment` the one of https_proxy, `spared` what no_proxy says, and
    `inspection` PEM certificates of who may open the line.
    """

    chosen: ForwardProxy | None = None
    environment: ForwardProxy | None = None
    spared: str = ""
    inspection: bytes = field(default=b"", repr=False)

    def proxy_to(self, host: str) -> ForwardProxy | None:
        """The proxy to this server; None dials it directly."""
        if self.chosen is not None:
            return self.chosen
        spared = [*loopback.NAMES, *(entry.strip() for entry in self.spared.split(","))]
        return None if any(_names(entry.lower(), host.lower()) for entry in spared) else self.environment

    def inspectors(self) -> dict[str, Any]:
        """What the ledger says of who may open the line."""
        names = authority_names(self.inspection) if self.inspection else []
        return {
            "accepted": bool(self.inspection),
            "authorities": names,
            "ca_certificate": digest(self.inspection) if self.inspection else None,
        }


def way_of(settings: ServerSettings, base: Path, environment: Mapping[str, str]) -> Way:
    """The way that a site's settings say.

    Args:
        settings: the site's `[server]`.
        base: the folder that relative paths count from.
        environment: of this process.

    Raises:
        ConfigError: the inspection's file holds no authority, or https_proxy names no proxy.
        TrustError: the password's file cannot be used.
    """
    chosen = None
    if settings.proxy:
        file = settings.proxy_login_file
        login = read_login(base / file, table="server", key="proxy_login_file") if file else None
        parts = urlsplit(settings.proxy)
        chosen = ForwardProxy(str(parts.hostname), int(parts.port or 0), login)
    inspection = _authorities(base / settings.inspection_ca) if settings.inspection_ca else b""
    found = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    spared = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return Way(chosen, None if chosen or not found else _named(found), spared, inspection)


def _names(entry: str, host: str) -> bool:
    """Whether a part of no_proxy means a host: by its name or domain, its network, or all by ``*``."""
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".")
        return entry == "*" or (domain != "" and f".{host}".endswith(f".{domain}"))


def _named(url: str) -> ForwardProxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http":
        raise ConfigError(
            "https_proxy in the environment names no proxy.",  # it may hold a password, so it is not shown
            remedy="Write http://HOST:PORT there, or set server.proxy in site.toml.",
        )
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return ForwardProxy(host, port, login)


def _authorities(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            pem = file.read(_LARGEST)
        authority_names(pem)
    except (OSError, ValueError):
        raise ConfigError(
            "server.inspection_ca holds no certificate of an authority in PEM.",
            remedy="Ask the team that runs the TLS inspection for its CA certificate, and name that file.",
        ) from None
    return pem
