"""How a site joins: the invitation it gets and the join request it answers with.

1. An invitation is a credential. It is not signed (its key would be its own witness), so it must
   arrive over a channel that both trust, and both compare the coordinator's fingerprint.
2. A join request proves that its maker holds the identity key, and names the invitation by digest,
   so that it cannot be made by someone who has not seen that invitation.
3. Before a request is admitted, both compare its fingerprint: whoever stole the invitation has
   other keys.

Which invitation is open and who is admitted is decided in `server/federation.py`.
"""

from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from shared.canonical import canonical, digest
from shared.envelope import open_envelope, seal
from shared.errors import TrustError
from shared.fields import Digest, Name
from shared.identity import Host, IdentityKey, Port, Secret, SiteName, TransportKey, UnixSeconds, read_record
from shared.keys import fingerprint, identity_hex, read_identity_hex
from shared.section import Section
from shared.wire import PROTOCOL

JOIN_PURPOSE = "join request"
LARGEST_RECORD = 64 << 10  # bytes; an invitation or a join request takes about 2 KB


class Invitation(Section):
    """What a site needs in order to join: where the federation is and which key speaks for it.

    `patient_salt` turns patient identifiers into keys that are the same at every site; `token` makes
    the invitation unguessable. Both are secrets of the federation. `expires` in Unix seconds.
    """

    protocol: Literal[1] = PROTOCOL
    federation: Name
    site: SiteName
    host: Host
    fleet_port: Port
    ca_certificate: Annotated[str, Field(max_length=8192)]
    coordinator_key: IdentityKey
    patient_salt: Secret
    token: Secret
    expires: UnixSeconds

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical invitation: how a join request names it."""
        return digest(canonical(self.model_dump(mode="json")))

    def coordinator_fingerprint(self) -> str:
        """The coordinator's key in a form that two people can compare."""
        return fingerprint(self.coordinator_key)


class JoinRequest(Section):
    """A site's answer to an invitation; `proof` is the hex of an envelope over the other fields."""

    protocol: Literal[1] = PROTOCOL
    federation: Name
    site: SiteName
    transport_key: TransportKey
    identity_key: IdentityKey
    invitation: Digest
    proof: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", repr=False)]

    def fingerprint(self) -> str:
        """As `RosterEntry.fingerprint`, to be compared before the site is admitted."""
        return fingerprint(self.transport_key, self.identity_key)


def read_invitation(data: bytes) -> Invitation:
    """Read an invitation; whether it has expired is the caller's question.

    Raises:
        ProtocolError: it was made for another protocol number.
        TrustError: it is not an invitation.
    """
    return read_record(Invitation, _bounded(data, "invitation"), "invitation")


def make_join_request(invitation: Invitation, *, transport_key: str, identity_key: Ed25519PrivateKey) -> bytes:
    """Answer an invitation with a site's new public keys.

    Args:
        invitation: the one to answer.
        transport_key: SubjectPublicKeyInfo PEM.
        identity_key: the private key that signs the proof; only its public half is written.
    """
    said = {
        "protocol": PROTOCOL,
        "federation": invitation.federation,
        "site": invitation.site,
        "transport_key": transport_key,
        "identity_key": identity_hex(identity_key.public_key()),
        "invitation": invitation.digest(),
    }
    proof = seal(canonical(said), key=identity_key, signer=invitation.site, purpose=JOIN_PURPOSE)
    return canonical({**said, "proof": proof.hex()})


def read_join_request(data: bytes) -> JoinRequest:
    """Read a join request and check its proof.

    Raises:
        ProtocolError: another protocol number.
        TrustError: it is not a join request, or its maker does not hold the identity key.
    """
    request = read_record(JoinRequest, _bounded(data, "join request"), "join request")
    key = read_identity_hex(request.identity_key)
    proof = open_envelope(bytes.fromhex(request.proof), keys={request.site: key}, purpose=JOIN_PURPOSE)
    if proof.body != canonical(request.model_dump(mode="json", exclude={"proof"})):
        raise TrustError("The join request is not what its key signed.", remedy="Ask the site to send it again.")
    return request


def _bounded(data: bytes, what: str) -> bytes:
    if len(data) > LARGEST_RECORD:
        raise TrustError(
            f"The {what} has {len(data)} bytes; at most {LARGEST_RECORD} are read.",
            remedy="Check that this is the file that was sent.",
        )
    return data
