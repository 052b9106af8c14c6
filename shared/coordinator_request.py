"""How somebody asks to coordinate beside others: a name and a public key, signed with that key.

The key is made where the person works and does not travel. The request proves that its maker holds it; that the maker
is the person whose name it bears, two people find out who compare its fingerprint.
"""

from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.fields import Name
from shared.identity import RECORD_FORMAT, IdentityKey, SiteName, read_record
from shared.keys import fingerprint, identity_hex, read_identity_hex
from shared.section import Section
from shared.signed_record import Signature, bounded, check_signature, sign_record

PURPOSE = "coordinator's request"


class CoordinatorRequest(Section):
    """Who asks to be named among the coordinators of a federation, and with which key."""

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    name: SiteName
    key: IdentityKey
    signature: Signature

    def fingerprint(self) -> str:
        """As `Coordinator.fingerprint`, to be compared before it is admitted."""
        return fingerprint(self.key)


def make_coordinator_request(federation: str, name: str, *, key: Ed25519PrivateKey) -> bytes:
    """The request, signed with the key that it names.

    Args:
        federation: the name of the federation.
        name: under which sites and auditors will read of its maker.
        key: the maker's; only its public half is written.
    """
    said = {"protocol": RECORD_FORMAT, "federation": federation, "name": name, "key": identity_hex(key.public_key())}
    return sign_record(said, key=key, signer=name, purpose=PURPOSE)


def read_coordinator_request(data: bytes) -> CoordinatorRequest:
    """Read a request and check that its maker holds the key.

    Raises:
        ProtocolError: another protocol number.
        TrustError: it is no such request, was changed, or its maker does not hold the key.
    """
    request = read_record(CoordinatorRequest, bounded(data, PURPOSE), PURPOSE)
    check_signature(request, key=read_identity_hex(request.key), signer=request.name, purpose=PURPOSE)
    return request
