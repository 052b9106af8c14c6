"""A key card is read in its one form, and shows the fingerprints that were compared when the site joined."""

import json

import pytest

from shared.canonical import canonical
from shared.errors import ProtocolError, TrustError
from shared.key_card import KeyCard, read_key_card
from shared.keys import (
    fingerprint,
    identity_hex,
    make_identity_key,
    make_transport_key,
    read_identity_pem,
    transport_pem,
)

TRANSPORT = transport_pem(make_transport_key().public_key())
IDENTITY, COORDINATOR = (identity_hex(make_identity_key().public_key()) for _ in range(2))


def card() -> KeyCard:
    return KeyCard(
        federation="ward",
        site="north",
        transport_key=TRANSPORT,
        identity_key=IDENTITY,
        coordinator_key=COORDINATOR,
    )


def test_a_card_survives_and_shows_both_fingerprints() -> None:
    read = read_key_card(card().encode())
    assert read == card()
    assert read.fingerprint() == fingerprint(TRANSPORT, IDENTITY)
    assert read.coordinator_fingerprint() == fingerprint(COORDINATOR)


@pytest.mark.parametrize(
    "change", [{"site": "coordinator"}, {"more": 1}, {"identity_key": "zz"}, {"transport_key": ""}]
)
def test_what_is_no_card_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(TrustError):
        read_key_card(canonical(json.loads(card().encode()) | change))


def test_another_format_is_named() -> None:
    with pytest.raises(ProtocolError, match="format 2"):
        read_key_card(canonical(json.loads(card().encode()) | {"protocol": 2}))


@pytest.mark.parametrize("text", ["", "no key", TRANSPORT])
def test_only_an_ed25519_key_is_read_from_pem(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_identity_pem(text)
