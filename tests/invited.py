"""An invitation as a coordinator signs it, for tests that need no federation folder."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.enrolment import Invitation, Offer, make_invitation, read_invitation
from shared.keys import identity_hex, make_identity_key

KEY = make_identity_key()
OFFER = {
    "federation": "lungs",
    "site": "north",
    "host": "fl.example",
    "fleet_port": 9092,
    "ca_certificate": "-----BEGIN CERTIFICATE-----\n",
    "patient_salt": "5a" * 32,
    "token": "7e" * 32,
    "expires": 1000,
}


def invitation_bytes(*, key: Ed25519PrivateKey = KEY, **changed: Any) -> bytes:
    """The file that the coordinator sends."""
    said = {**OFFER, **changed, "coordinator_key": identity_hex(key.public_key())}
    return make_invitation(Offer(**said), key=key)


def invitation(**changed: Any) -> Invitation:
    """What a site reads there."""
    return read_invitation(invitation_bytes(**changed))
