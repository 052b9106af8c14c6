"""Who coordinates a federation: its mandates, each signed by whom the one before it puts in the lead.

A federation begins with one key, the one on its first invitations. A mandate names the coordinators and which of them
leads: the lead's key alone speaks for the federation, to sites and in rosters, journals and admissions. The others are
those to whom the lead may be handed over. All mandates in their order are the federation's *succession*; it names
nobody but coordinators, holds no secret, and travels with every message of a federation that has one.

A succession is sound if

1. its mandates are in their one form, of one federation, numbered from 1, and each names the digest of the one before;
2. each is signed by the lead of the one before; the first by the lead that it names itself, the founder;
3. a mandate with another lead is signed by that one, too, and the lead before is named by none that follows;
4. each name and each key stands once in a mandate.

A mandate that is signed cannot be taken back. One that offers the lead holds once it is accepted, whenever that is, for
every reader who has not followed another of its number; rule 6 gives the first that a reader sees the right of way.

A reader who trusts one key, and may have followed a succession before, follows a sound one if

5. that key is the founder's, or has led since: who takes the lead signs for all that was before;
6. it goes on from where the reader is: it is not shorter, and has no other mandate under a number that was seen.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, model_validator

from shared.canonical import canonical, digest, parse_canonical
from shared.clock import day
from shared.envelope import open_envelope, seal
from shared.errors import TrustError
from shared.fields import Digest, Name
from shared.identity import COORDINATOR, RECORD_FORMAT, IdentityKey, SiteName, UnixSeconds, read_record
from shared.keys import KeysInTurn, fingerprint, identity_hex, read_identity_hex
from shared.section import Section
from shared.signed_record import Signature, bounded

MOST_MANDATES = 100
MOST_COORDINATORS = 8
LARGEST = 256 << 10  # bytes; a mandate takes 0.8 to 2 KB
FIRST = "0" * 64
_PURPOSE, _ACCEPTANCE = "mandate", "acceptance of a mandate"
_CARRIED = struct.Struct(">8sI")
_MAGIC = b"WARDSUC\n"
_BEGINS = b'{"mandates":'
_ASK = "Ask the coordinator, by a number that you know, who coordinates the federation now."


class Coordinator(Section):
    """One of those who coordinate, by the name under which sites and auditors read of them."""

    name: SiteName
    key: IdentityKey

    def fingerprint(self) -> str:
        """The key in a form that two people can compare."""
        return fingerprint(self.key)

    def public_key(self) -> Ed25519PublicKey:
        """The key itself."""
        return read_identity_hex(self.key)


class Mandate(Section):
    """Who coordinates from one number on; `previous` is the digest of the mandate before, `issued` in Unix seconds."""

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    number: Annotated[int, Field(ge=1, le=MOST_MANDATES)]
    previous: Digest
    issued: UnixSeconds
    lead: SiteName
    coordinators: Annotated[tuple[Coordinator, ...], Field(min_length=1, max_length=MOST_COORDINATORS)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [one.name for one in self.coordinators]
        if names != sorted(set(names)) or len({one.key for one in self.coordinators}) != len(names):
            raise ValueError("each coordinator stands once, in the order of names, and so does each key")
        if self.lead not in names:
            raise ValueError("the lead is one of the coordinators")
        return self

    def named(self, name: str) -> Coordinator | None:
        """The coordinator of that name, if there is one."""
        return next((one for one in self.coordinators if one.name == name), None)

    def leader(self) -> Coordinator:
        """The coordinator who leads."""
        found = self.named(self.lead)
        assert found is not None  # by the rule above
        return found

    def beside(self) -> tuple[Coordinator, ...]:
        """The coordinators who are named beside the one who leads."""
        return tuple(one for one in self.coordinators if one.name != self.lead)


class SignedMandate(Mandate):
    """A mandate as the lead before signed it; `acceptance` is the signature of a new lead, empty until it is given."""

    signature: Signature
    acceptance: Annotated[str, Field(pattern=r"^(([0-9a-f]{2}){64,256})?$", repr=False)] = ""

    def said(self) -> bytes:
        """The canonical bytes that both sign."""
        return canonical(self.model_dump(mode="json", exclude={"signature", "acceptance"}))

    def digest(self) -> str:
        """SHA-256 (hex) of what is said: how the next mandate names this one."""
        return digest(self.said())

    def encode(self) -> bytes:
        """The mandate by itself, as it is offered to a new lead."""
        return canonical(self.model_dump(mode="json"))

    def accepted(self, key: Ed25519PrivateKey) -> Self:
        """The same, signed by the new lead."""
        return self.model_copy(update={"acceptance": _seal(self.said(), key, _ACCEPTANCE)})


@dataclass(frozen=True)
class Succession:
    """All mandates of a federation, the first one first; made by `read_succession` or by adding to one."""

    mandates: tuple[SignedMandate, ...]

    @property
    def newest(self) -> SignedMandate:
        """The mandate in force."""
        return self.mandates[-1]

    @property
    def leads(self) -> tuple[Coordinator, ...]:
        """Those who have led, the founder first and the present lead last."""
        return tuple({mandate.leader().key: mandate.leader() for mandate in self.mandates}.values())

    def keys(self) -> KeysInTurn:
        """The keys that have spoken for the federation, in their turn."""
        return KeysInTurn(tuple(lead.public_key() for lead in self.leads))

    def began(self, lead: Coordinator) -> SignedMandate:
        """The mandate that put somebody in the lead."""
        return next(mandate for mandate in self.mandates if mandate.leader().key == lead.key)

    def gave_up(self, key: Ed25519PublicKey) -> str | None:
        """In words, which former lead's key it is, and since when no more; None if it is no former lead's."""
        hexed, leads = identity_hex(key), self.leads
        for former, after in pairwise(leads):
            if former.key == hexed:
                began = self.began(after)
                return f"{former.name}, who gave up the lead on {day(began.issued)} by mandate {began.number}"
        return None

    def encode(self) -> bytes:
        """The succession's one form in bytes."""
        return canonical({"mandates": [one.model_dump(mode="json") for one in self.mandates]})

    def with_mandate(self, mandate: SignedMandate) -> "Succession":
        """The succession that goes on by a mandate, read by the module's rules; raises as `read_succession`."""
        return read_succession(Succession((*self.mandates, mandate)).encode())


def sign_mandate(mandate: Mandate, *, key: Ed25519PrivateKey) -> SignedMandate:
    """The mandate as the lead before it signs it."""
    fields = mandate.model_dump()
    said = canonical(mandate.model_dump(mode="json"))
    return SignedMandate.model_validate({**fields, "signature": _seal(said, key, _PURPOSE)})


def is_succession(data: bytes) -> bool:
    """Whether a file begins as a succession does; whether it is sound, `read_succession` says."""
    return data.startswith(_BEGINS)


def read_succession(data: bytes) -> Succession:
    """Read a succession by rules 1 to 4; whether its reader follows it is decided by `follow`.

    Raises:
        ProtocolError: it was made for another protocol number.
        TrustError: a rule does not hold.
    """
    value: Any = parse_canonical(_bounded(data))
    found = value.get("mandates") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_MANDATES:
        raise _unsound("is in no form that this software reads")
    # 1. one form
    mandates = tuple(read_record(SignedMandate, canonical(one), "mandate") for one in found)
    before: SignedMandate | None = None
    retired = set[str]()
    for number, mandate in enumerate(mandates, start=1):
        _check_mandate(mandate, number, before or mandate, first=before is None)
        if before is not None and before.leader().key != mandate.leader().key:
            retired.add(before.leader().key)
        if not retired.isdisjoint(one.key for one in mandate.coordinators):
            raise _unsound("brings back a key that has given up the lead")
        before = mandate
    return Succession(mandates)


def read_mandate(data: bytes) -> SignedMandate:
    """A mandate by itself, as it is offered to a new lead; it is checked when it becomes part of a succession.

    Raises:
        ProtocolError: it was made for another protocol number.
        TrustError: it is not a mandate.
    """
    return read_record(SignedMandate, bounded(data, "mandate"), "mandate")


def follow(found: Succession, *, federation: str, trusted: str, seen: Succession | None) -> Succession:
    """Rules 5 and 6: the succession, if the reader goes along with it.

    Args:
        found: what came.
        federation: the reader's own.
        trusted: the key (hex) on the reader's own invitation.
        seen: what the reader has followed before.

    Raises:
        TrustError: a rule does not hold; what was followed before stays.
    """
    if found.newest.federation != federation:
        raise TrustError(f"The mandate is of federation {found.newest.federation!r}.", remedy=_ASK)
    # 5. a key that is trusted
    if trusted not in {lead.key for lead in found.leads}:
        raise TrustError("The mandates do not begin with the coordinator who invited this site.", remedy=_ASK)
    # 6. onwards
    here = seen.mandates if seen else ()
    for known, other in zip(here, found.mandates, strict=False):
        if known.said() != other.said():
            raise TrustError(
                f"There are two mandates of number {known.number}: one that this site follows, which puts"
                f" {known.lead} in the lead, and one that puts {other.lead} there. Somebody signed both.",
                remedy=f"The one that came first holds. {_ASK}",
            )
    if len(found.mandates) < len(here):
        raise TrustError(
            f"The mandate has number {found.newest.number}; number {len(here)} was seen before.",
            remedy="Ask for the newest one; an old one may bring back a coordinator who has left.",
        )
    return found


def carry(succession: Succession | None, envelope: bytes) -> bytes:
    """An envelope with the succession by which its signer is known in front, if there is one."""
    if succession is None:
        return envelope
    data = succession.encode()
    return _CARRIED.pack(_MAGIC, len(data)) + data + envelope


def carried(data: bytes) -> tuple[bytes | None, bytes]:
    """What `carry` put together: the succession's bytes, neither read nor believed yet, and the envelope.

    Raises:
        TrustError: the parts are not as long as declared, or the succession is longer than one may be.
    """
    if not data.startswith(_MAGIC):
        return None, data
    if len(data) < _CARRIED.size:
        raise _unsound("was cut off")
    _, length = _CARRIED.unpack_from(data)
    end = _CARRIED.size + length
    if end > len(data):
        raise _unsound("was cut off")
    return _bounded(data[_CARRIED.size : end]), data[end:]


def _check_mandate(mandate: SignedMandate, number: int, before: SignedMandate, *, first: bool) -> None:
    if mandate.number != number or mandate.previous != (FIRST if first else before.digest()):
        raise _unsound("does not follow from the one before it")
    if mandate.federation != before.federation:
        raise _unsound("is of another federation than the one before it")
    # 2. by the lead before
    _check(mandate, mandate.signature, before.leader(), _PURPOSE)
    # 3. and by a new one
    if mandate.leader().key != before.leader().key:
        if not mandate.acceptance:
            raise _unsound(f"was not accepted by {mandate.lead}")
        _check(mandate, mandate.acceptance, mandate.leader(), _ACCEPTANCE)


def _check(mandate: SignedMandate, signature: str, signer: Coordinator, purpose: str) -> None:
    sealed = bytes.fromhex(signature) + mandate.said()
    try:
        open_envelope(sealed, keys={COORDINATOR: signer.public_key()}, purpose=purpose)
    except TrustError:
        raise _unsound(f"is not signed by {signer.name}") from None


def _seal(said: bytes, key: Ed25519PrivateKey, purpose: str) -> str:
    return seal(said, key=key, signer=COORDINATOR, purpose=purpose).removesuffix(said).hex()


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise _unsound("is longer than one may be")
    return data


def _unsound(why: str) -> TrustError:
    return TrustError(f"A mandate {why}.", remedy=_ASK)
