"""An invitation as a coordinator signs it, and a hand-over, for tests that need no federation folder."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.enrolment import Invitation, Offer, make_invitation, read_invitation
from shared.keys import identity_hex, make_identity_key
from shared.mandate import FIRST, Coordinator, Mandate, Succession, sign_mandate

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


def handed_over(ann: Ed25519PrivateKey, ben: Ed25519PrivateKey, *, federation: str = "lungs") -> Succession:
    """The mandates by which ann named ben, and then handed over to ben."""
    known = [Coordinator(name=name, key=identity_hex(key.public_key())) for name, key in (("ann", ann), ("ben", ben))]
    said: dict[str, Any] = {"federation": federation, "issued": 1_800_000_000}
    named = Mandate(**said, number=1, previous=FIRST, lead="ann", coordinators=tuple(known))
    first = sign_mandate(named, key=ann)
    handed = Mandate(**said, number=2, previous=first.digest(), lead="ben", coordinators=(known[1],))
    return Succession((first, sign_mandate(handed, key=ann).accepted(ben)))
