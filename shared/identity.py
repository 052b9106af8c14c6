"""Who belongs to a federation: the roster that binds each site's name to its keys for a time.

A roster is sound if

1. the coordinator signed it, and it names that very key;
2. its version is not lower than one that the reader has seen, so that no removed key comes back;
3. it is in its one canonical form: what was read, written again, gives the same bytes;
4. each name and each key stands in it once, and no site is called ``coordinator``, so that a signer
   is never two parties.

How a site gets there is in `shared/enrolment.py`, who is let in in `server/federation.py`, how
private keys are kept in `shared/keys.py`.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator, Field, ValidationError, model_validator

from shared.canonical import canonical, parse_canonical
from shared.envelope import open_envelope, seal
from shared.errors import ProtocolError, TrustError
from shared.fields import Digest, Name
from shared.keys import fingerprint, identity_hex, read_identity_hex, read_transport_pem
from shared.section import Section

COORDINATOR = "coordinator"
ROSTER_PURPOSE = "roster"
# of invitations, join requests, admissions, key cards, mandates and coordinators' requests, where it is called protocol
RECORD_FORMAT: Literal[1] = 1
_AGAIN = "Ask its sender to make it again."
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def _not_coordinator(name: str) -> str:
    if name == COORDINATOR:
        raise ValueError(f"{COORDINATOR!r} is no site's name")
    return name


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    # RFC 1123, section 2.1; a last label of digits would be a mistyped address.
    labels = text.split(".")
    if len(text) > 253 or not all(map(_HOST_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ValueError("must be a host name or an IP address, without a port")
    return text


def _transport_pem(text: str) -> str:
    read_transport_pem(text)
    return text


SiteName = Annotated[Name, AfterValidator(_not_coordinator)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
TransportKey = Annotated[str, Field(max_length=1024), AfterValidator(_transport_pem)]
IdentityKey = Digest  # 32 raw bytes in hex
Secret = Annotated[Digest, Field(repr=False)]
UnixSeconds = Annotated[int, Field(ge=0, lt=2**53)]


class RosterEntry(Section):
    """One site's keys, from `not_before` up to but without `not_after` (Unix seconds)."""

    site: SiteName
    transport_key: TransportKey
    identity_key: IdentityKey
    not_before: UnixSeconds
    not_after: UnixSeconds

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.not_before >= self.not_after:
            raise ValueError("not_before must be earlier than not_after")
        return self

    def valid(self, at: float) -> bool:
        """Whether the entry holds at a time (Unix seconds)."""
        return self.not_before <= at < self.not_after

    def fingerprint(self) -> str:
        """Both keys in a form that two people can compare."""
        return fingerprint(self.transport_key, self.identity_key)


class Roster(Section):
    """The sites of a federation, in the order of their names, as of one version."""

    federation: Name
    coordinator_key: IdentityKey
    version: Annotated[int, Field(ge=1, lt=2**53)]
    entries: tuple[RosterEntry, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [entry.site for entry in self.entries]
        if names != sorted(set(names)):
            raise ValueError("each site stands once, in the order of names")
        for keys in (
            [entry.transport_key for entry in self.entries],
            [self.coordinator_key, *(entry.identity_key for entry in self.entries)],
        ):
            if len(set(keys)) != len(keys):
                raise ValueError("each key belongs to one party")
        return self

    def sites(self) -> tuple[str, ...]:
        """The names of all sites, valid now or not."""
        return tuple(entry.site for entry in self.entries)

    def by_site(self, site: str) -> RosterEntry:
        """The entry of a site.

        Raises:
            TrustError: no such site.
        """
        return self._one((entry for entry in self.entries if entry.site == site), f"Site {site!r}")

    def by_transport_key(self, pem: str | bytes) -> RosterEntry:
        """The entry of the site whose node shows this public key (SubjectPublicKeyInfo PEM).

        Raises:
            TrustError: no such key.
        """
        text = pem.decode("ascii", "replace") if isinstance(pem, bytes) else pem
        return self._one((entry for entry in self.entries if entry.transport_key == text), "A node's key")

    def identity_keys(self, *, at: float, site: str | None = None) -> dict[str, Ed25519PublicKey]:
        """Identity keys by site, of the entries valid at a time (Unix seconds), or of one site: for `open_envelope`."""
        entries = (entry for entry in self.entries if site in (None, entry.site) and entry.valid(at))
        return {entry.site: read_identity_hex(entry.identity_key) for entry in entries}

    def _one(self, found: Iterator[RosterEntry], who: str) -> RosterEntry:
        entry = next(found, None)
        if entry is None:
            raise TrustError(
                f"{who} is not on the roster of federation {self.federation!r} (version {self.version}).",
                remedy="The coordinator admits a site with `wardround federation admit`.",
            )
        return entry


def sign_roster(roster: Roster, *, key: Ed25519PrivateKey) -> bytes:
    """The roster as an envelope of the coordinator."""
    return seal(canonical(roster.model_dump(mode="json")), key=key, signer=COORDINATOR, purpose=ROSTER_PURPOSE)


def read_roster(data: bytes, *, coordinator_key: Ed25519PublicKey, at_least: int = 1) -> Roster:
    """Open a roster that the coordinator signed.

    Args:
        data: what `sign_roster` gave.
        coordinator_key: the key that speaks for the federation.
        at_least: the highest version that this reader has seen.

    Raises:
        TrustError: the signature does not hold, the roster is not sound, or its version is lower.
    """
    body = open_envelope(data, keys={COORDINATOR: coordinator_key}, purpose=ROSTER_PURPOSE).body
    roster = read_record(Roster, body, "roster")
    if roster.coordinator_key != identity_hex(coordinator_key):
        raise TrustError("The roster names another coordinator key.", remedy="Ask the coordinator for the roster.")
    if roster.version < at_least:
        raise TrustError(
            f"The roster has version {roster.version}; version {at_least} was seen before.",
            remedy="Ask the coordinator for the newest roster; an old one may bring back a removed key.",
        )
    return roster


Record = TypeVar("Record", bound=Section)


def read_record(kind: type[Record], data: bytes, what: str) -> Record:
    """Read canonical JSON as one kind of record, in the one form in which it is written.

    Args:
        kind: the record's type.
        data: canonical bytes; the caller has bounded their number.
        what: what the reader calls the record, such as ``invitation``.

    Raises:
        ProtocolError: the record is of another format (both are named).
        TrustError: it is not canonical, or not such a record.
    """
    value: Any = parse_canonical(data)
    found = value.get("protocol", RECORD_FORMAT) if isinstance(value, dict) else RECORD_FORMAT
    if found != RECORD_FORMAT:
        raise ProtocolError(
            f"The {what} has format {ascii(str(found)[:12])[1:-1]}; this software reads format {RECORD_FORMAT}.",
            remedy="Upgrade the older of the two sides, and have it made again.",
        )
    try:
        record = kind.model_validate_json(data)
    except ValidationError:
        raise TrustError(f"The {what} has fields outside its type.", remedy=_AGAIN) from None
    # A default filled in, or a number given as text, would make two texts one record.
    if canonical(record.model_dump(mode="json")) != data:
        raise TrustError(f"The {what} is not written in its one form.", remedy=_AGAIN)
    return record
