"""How a site joins: the invitation it gets and the join request it answers with.

1. An invitation is a credential. The coordinator signs it, and a site that has joined takes a further one by
   the same key alone. To a new site its key is its own witness, so it must arrive over a channel that both
   trust, and both compare the coordinator's fingerprint.
2. A join request proves that its maker holds both private keys, and, by a code made with the invitation's
   one-time secret, that it has seen the very invitation. The secret itself does not travel back, and who
   catches the request can put no other keys into it.
3. Before a request is admitted, both compare its fingerprint: whoever stole the invitation has other keys.

Which invitation is open and who is admitted is decided in `server/membership/enrolment.py`.
"""

import hmac
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from shared.canonical import canonical, digest
from shared.fields import Digest, Name
from shared.identity import (
    COORDINATOR,
    RECORD_FORMAT,
    Host,
    IdentityKey,
    Port,
    Secret,
    SiteName,
    TransportKey,
    UnixSeconds,
    read_record,
)
from shared.keys import (
    check_possession,
    fingerprint,
    identity_hex,
    prove_possession,
    read_identity_hex,
    transport_pem,
)
from shared.section import Section
from shared.signed_record import Signature, bounded, check_signature, sign_record

INVITATION_PURPOSE = "invitation"
JOIN_PURPOSE = "join request"


class Offer(Section):
    """What an invitation says before it is signed: where the federation is and which key speaks for it.

    `patient_salt` turns patient identifiers into keys that are the same at every site; `token` is the
    one-time secret. Both are secrets of the federation. `expires` in Unix seconds.
    """

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    site: SiteName
    host: Host
    fleet_port: Port
    ca_certificate: Annotated[str, Field(max_length=8192)]
    coordinator_key: IdentityKey
    patient_salt: Secret
    token: Secret
    expires: UnixSeconds


class Invitation(Offer):
    """What a site needs in order to join, as the coordinator signed it."""

    signature: Signature

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical invitation: how a join request names it."""
        return digest(canonical(self.model_dump(mode="json")))

    def coordinator_fingerprint(self) -> str:
        """The coordinator's key in a form that two people can compare."""
        return fingerprint(self.coordinator_key)


class JoinRequest(Section):
    """A site's answer to an invitation, signed with its identity key.

    `possession` is a signature of the transport key, `code` the message authentication code (HMAC-SHA256,
    RFC 2104) under the invitation's token; each covers the fields before it, both in hex.
    """

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    site: SiteName
    transport_key: TransportKey
    identity_key: IdentityKey
    invitation: Digest
    possession: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){8,120}$", repr=False)]
    code: Annotated[Digest, Field(repr=False)]
    signature: Signature

    def fingerprint(self) -> str:
        """As `RosterEntry.fingerprint`, to be compared before the site is admitted."""
        return fingerprint(self.transport_key, self.identity_key)

    def answers(self, invitation: Invitation) -> bool:
        """Whether it was made by someone who holds this very invitation, and was not changed since."""
        said = self.model_dump(mode="json", exclude={"code", "signature"})
        return self.invitation == invitation.digest() and hmac.compare_digest(self.code, _code(said, invitation.token))


def make_invitation(offer: Offer, *, key: Ed25519PrivateKey) -> bytes:
    """The offer as the coordinator signs it."""
    return sign_record(offer.model_dump(mode="json"), key=key, signer=COORDINATOR, purpose=INVITATION_PURPOSE)


def read_invitation(data: bytes) -> Invitation:
    """Read an invitation; whether it has expired is the caller's question.

    Raises:
        ProtocolError: it is of another format.
        TrustError: it is not an invitation, or not what the coordinator's key on it signed.
    """
    invitation = read_record(Invitation, bounded(data, "invitation"), "invitation")
    key = read_identity_hex(invitation.coordinator_key)
    check_signature(invitation, key=key, signer=COORDINATOR, purpose=INVITATION_PURPOSE)
    return invitation


def make_join_request(
    invitation: Invitation, *, transport_key: EllipticCurvePrivateKey, identity_key: Ed25519PrivateKey
) -> bytes:
    """Answer an invitation with a site's new public keys; the same keys give the same bytes.

    Args:
        invitation: the one to answer.
        transport_key: the site's; only its public half is written.
        identity_key: as `transport_key`.
    """
    said: dict[str, Any] = {
        "protocol": RECORD_FORMAT,
        "federation": invitation.federation,
        "site": invitation.site,
        "transport_key": transport_pem(transport_key.public_key()),
        "identity_key": identity_hex(identity_key.public_key()),
        "invitation": invitation.digest(),
    }
    said["possession"] = prove_possession(transport_key, canonical(said), purpose=JOIN_PURPOSE)
    said["code"] = _code(said, invitation.token)
    return sign_record(said, key=identity_key, signer=invitation.site, purpose=JOIN_PURPOSE)


def read_join_request(data: bytes) -> JoinRequest:
    """Read a join request and check that its maker holds both keys.

    Raises:
        ProtocolError: it is of another format.
        TrustError: it is not a join request, was changed, or its maker does not hold one of the keys.
    """
    request = read_record(JoinRequest, bounded(data, "join request"), "join request")
    key = read_identity_hex(request.identity_key)
    check_signature(request, key=key, signer=request.site, purpose=JOIN_PURPOSE)
    said = canonical(request.model_dump(mode="json", exclude={"possession", "code", "signature"}))
    check_possession(request.transport_key, said, request.possession, purpose=JOIN_PURPOSE)
    return request


def _code(said: dict[str, Any], token: str) -> str:
    return hmac.new(bytes.fromhex(token), canonical(said), "sha256").hexdigest()
