"""Which key a ledger is held against, from the forms in which an auditor may have it.

A key is given as

1. the key card of a site's export, which knows the coordinator's key too;
2. a federation's signed roster, whose coordinator's key is its own witness;
3. the mandates of a federation whose coordinator has changed: all keys that have led, each in its turn;
4. an Ed25519 public key, in PEM or as 64 hex digits, in a file or typed.

Whether a key is the right one no file can say: its fingerprint is shown, to be compared.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.canonical import parse_canonical
from shared.envelope import MAGIC
from shared.errors import ConfigError, TrustError
from shared.identity import COORDINATOR, Roster, read_roster
from shared.key_card import read_key_card
from shared.keys import KeysInTurn, VerifyKey, fingerprint, identity_hex, read_identity_hex, read_identity_pem
from shared.mandate import Succession, is_succession, read_succession
from shared.signed_record import insist_on_kind

_LARGEST = 8 << 20  # bytes, as of an envelope
_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Signer:
    """Whose ledger it is: the name its heads carry, the key they must hold against, and how to compare it.

    `coordinator` are the keys that a journal must hold against, where they are known, and `led` the names of
    those whose they are, where mandates say them.
    """

    name: str
    key: VerifyKey
    fingerprint: str
    coordinator: KeysInTurn | None = field(default=None)
    led: tuple[str, ...] = ()


def read_signer(given: str, name: str | None) -> Signer:
    """The signer of a ledger.

    Args:
        given: a file in one of the forms above, or 64 hex digits.
        name: whose ledger it is, if that is said; a bare key, and a roster of several, need it.

    Raises:
        ConfigError: nothing that can be read stands there, or it is not said whose ledger it is.
        TrustError: the file is neither of the forms, or does not know the name.
    """
    data = _content(given)
    if data.startswith(MAGIC):
        return _of_roster(_self_signed(data), name)
    if is_succession(data):
        return _of_mandates(read_succession(data), name)
    if data.startswith(b"{"):
        insist_on_kind(data, given, "key card")
        return _of_card(data, name)
    if name is None:
        raise ConfigError("A bare key names nobody.", remedy="Say whose ledger it is with --signer.")
    key = _bare(data, given)
    return Signer(name, key, fingerprint(identity_hex(key)), KeysInTurn((key,)) if name == COORDINATOR else None)


def with_coordinator(signer: Signer, given: str | None) -> Signer:
    """The signer, with the coordinator's keys as they are given in any of the forms; raises as `coordinator_of`."""
    if given is None:
        return signer
    named = read_signer(given, COORDINATOR)
    known = [signer] if named.led else []  # who has followed mandates is invited by one of those who have led
    return replace(signer, coordinator=coordinator_of(known, given), led=named.led)


def signer_among(given: Iterable[str], name: str) -> Signer:
    """The signer of that name, from the first of several keys that knows it; raises `ConfigError` if none does."""
    for one in given:
        with suppress(ConfigError, TrustError):
            return read_signer(one, name)
    raise ConfigError(f"No key of {name} is named.", remedy="Name its key card, or the federation's roster.signed.")


def coordinator_of(signers: Iterable[Signer], given: str | None) -> KeysInTurn:
    """The coordinator's key that several signers know, or the keys that are given: theirs must be among mandated ones.

    Raises:
        ConfigError: nobody knows it.
        TrustError: they know different ones.
    """
    known = {_hexes(signer.coordinator): signer.coordinator for signer in signers if signer.coordinator}
    if given is not None:
        named = read_signer(given, COORDINATOR)
        assert named.coordinator is not None
        if named.led and all(set(keys) <= set(_hexes(named.coordinator)) for keys in known):
            return named.coordinator
        known[_hexes(named.coordinator)] = named.coordinator
    if len(known) > 1:
        raise TrustError(
            "The keys name different coordinators.",
            remedy="Compare the fingerprints with the signed agreements. If the coordinator has changed, name the"
            " federation's coordinators.signed with --coordinator.",
        )
    if not known:
        raise ConfigError("The coordinator's key is not known.", remedy="Name it with --coordinator.")
    return next(iter(known.values()))


def _hexes(keys: KeysInTurn) -> tuple[str, ...]:
    return tuple(map(identity_hex, keys.keys))


def shown(keys: KeysInTurn) -> str:
    """The fingerprints of keys, each in its turn."""
    return ", then ".join(fingerprint(identity_hex(key)) for key in keys.keys)


def _of_card(data: bytes, name: str | None) -> Signer:
    card = read_key_card(data)
    coordinator = read_identity_hex(card.coordinator_key)
    if name == COORDINATOR:
        return Signer(COORDINATOR, coordinator, fingerprint(card.coordinator_key), KeysInTurn((coordinator,)))
    if name not in (None, card.site):
        raise TrustError(f"The key card is of site {card.site!r}.", remedy="Name that site, or bring its own card.")
    return Signer(card.site, read_identity_hex(card.identity_key), card.fingerprint(), KeysInTurn((coordinator,)))


def _of_roster(roster: Roster, name: str | None) -> Signer:
    coordinator = read_identity_hex(roster.coordinator_key)
    if name == COORDINATOR:
        return Signer(COORDINATOR, coordinator, fingerprint(roster.coordinator_key), KeysInTurn((coordinator,)))
    if name is None:
        raise ConfigError(
            f"The roster names {len(roster.entries)} sites.", remedy="Say whose ledger it is with --signer."
        )
    entry = roster.by_site(name)
    return Signer(name, read_identity_hex(entry.identity_key), entry.fingerprint(), KeysInTurn((coordinator,)))


def _of_mandates(succession: Succession, name: str | None) -> Signer:
    """A succession by itself; the founder's fingerprint, or that of any other, is what the auditor compares."""
    if name != COORDINATOR:
        raise ConfigError(
            "Mandates name coordinators, and no site.",
            remedy=f"Name them with --coordinator, or --signer {COORDINATOR}.",
        )
    keys, led = succession.keys(), tuple(lead.name for lead in succession.leads)
    return Signer(COORDINATOR, keys, shown(keys), keys, led)


def _self_signed(data: bytes) -> Roster:
    """A roster by the key that it names itself; its fingerprint is what the auditor compares.

    Nothing but the key is taken from it before its signature is checked.
    """
    header = len(MAGIC) + 3 + len(COORDINATOR) + 64  # of an envelope that the coordinator signed
    try:
        claimed = read_identity_hex(str(parse_canonical(data[header:])["coordinator_key"]))
    except (TrustError, ValueError, TypeError, LookupError):
        raise TrustError("The file is no signed roster.", remedy="Ask for the federation's roster.signed.") from None
    return read_roster(data, coordinator_key=claimed)


def _bare(data: bytes, given: str) -> Ed25519PublicKey:
    text = data.decode("ascii", "replace").strip()
    try:
        return read_identity_hex(text) if _HEX.fullmatch(text) else read_identity_pem(text)
    except ValueError:
        raise TrustError(
            f"{given} is neither a key card, nor a roster, nor an Ed25519 public key.",
            remedy="Ask the site for the files of `wardround site ledger --to FOLDER`.",
        ) from None


def _content(given: str) -> bytes:
    if _HEX.fullmatch(given):
        return given.encode()
    try:
        with Path(given).open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise ConfigError(
            f"There is no key to read at {given} ({error.strerror}).",
            remedy="Name a key card, a roster, a PEM file, or 64 hex digits.",
        ) from None
