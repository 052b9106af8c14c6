"""The `[data.pacs]` tables of site.toml: which PACS, how it is spoken to, and which images are wanted of it.

Decides which keys there are and which belong together. What is said over the line is left to `web` and `dimse`.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from shared import loopback
from shared.section import Section

Title = Annotated[str, Field(pattern=r"^[ -\[\]-~]{1,16}$")]  # VR AE: no backslash, no control character (PS3.5 6.2)
Code = Annotated[str, Field(pattern=r"^[A-Z0-9 _]{1,16}$")]  # VR CS
Pattern = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f]{1,64}$")]  # VR LO, with * and ?
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Address = Annotated[str, Field(pattern=r"^https?://[^\s?#@]{1,500}$")]  # without query and user
PULLED = Path("pacs") / "images"  # in the site's folder


class WebSettings(Section):
    """DICOMweb (PS3.18). The two files are readable by their owner alone; `login_file` holds `user:password`."""

    url: Address
    token_file: Path | None = None
    login_file: Path | None = None

    @model_validator(mode="after")
    def _secret_stays_secret(self) -> Self:
        if self.token_file and self.login_file:
            raise ValueError("token_file and login_file do not go together")
        address, _ = urlsplit(self.url), _whole_address(self.url)  # which refuses a port that is none
        if (
            (self.token_file or self.login_file)
            and address.scheme != "https"
            and address.hostname not in loopback.NAMES
        ):
            raise ValueError("a token or a password is sent over https alone")
        return self


class DimseSettings(Section):
    """DIMSE (PS3.7). For `move` the PACS must know `calling` at `storage_host` and `storage_port`."""

    host: Host
    port: Port
    called: Title
    calling: Title = "WARDROUND"
    tls: bool = False
    retrieve: Literal["get", "move"] = "get"
    storage_host: Host | None = None
    storage_port: Port | None = None

    @model_validator(mode="after")
    def _move_has_a_goal(self) -> Self:
        given = [self.storage_host is not None, self.storage_port is not None]
        if given != [self.retrieve == "move"] * 2:
            raise ValueError('retrieve = "move" needs storage_host and storage_port, and "get" neither')
        return self


class QuerySettings(Section):
    """What is wanted: all that is said must hold. `description` is the exam's, with * and ?; `accessions` a file."""

    modalities: tuple[Code, ...] = ()
    body_parts: tuple[Code, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    description: Pattern | None = None
    accessions: Path | None = None

    @model_validator(mode="after")
    def _wants_something(self) -> Self:
        if not any(getattr(self, key) for key in type(self).model_fields):
            raise ValueError("say what is wanted; an empty query would copy the whole PACS")
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError("last_day lies before first_day")
        return self


class PacsSettings(Section):
    """One PACS, by DICOMweb or by DIMSE. Relative paths count from the folder of site.toml.

    `ca` verifies the PACS (PEM; else the system's authorities do), `certificate` and `key` are shown to one that asks
    for them. `lanes` work side by side; the two limits are of all lanes together. `free_gb` stays free on the disk.
    """

    web: WebSettings | None = None
    dimse: DimseSettings | None = None
    query: QuerySettings
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    lanes: Annotated[int, Field(ge=1, le=16)] = 4
    mb_per_s: Annotated[float, Field(gt=0, le=10_000)] | None = None
    instances_per_s: Annotated[float, Field(gt=0, le=10_000)] | None = None
    free_gb: Annotated[float, Field(ge=0, le=1_000_000)] = 2.0

    @property
    def label(self) -> str:
        """Which PACS it is, as the ledger names it: the service's whole address, or the AE title at its host."""
        if self.web:
            return _whole_address(self.web.url)
        return f"{self.dimse.called}@{self.dimse.host.lower()}:{self.dimse.port}" if self.dimse else ""

    @model_validator(mode="after")
    def _keys_belong_together(self) -> Self:
        if (self.web is None) == (self.dimse is None):
            raise ValueError("a PACS is spoken to by [data.pacs.web] or by [data.pacs.dimse]")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if self.dimse and self.dimse.tls and self.dimse.retrieve == "move" and not self.key:
            raise ValueError("with tls and move the PACS dials the site, which needs certificate and key")
        return self


def _whole_address(url: str) -> str:
    """One writing of each address, with its port: of the services of a host, told by path, one may be a stranger's."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
