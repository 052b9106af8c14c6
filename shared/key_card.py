"""The key card: a site's public keys and its coordinator's, in one file for who checks ledgers afterwards.

A card is no proof of anything: it says which keys a ledger and a journal are held against. Its reader
compares both fingerprints with what stands elsewhere, above all in the agreement that the site signed.
"""

from typing import Literal

from shared.canonical import canonical
from shared.fields import Name
from shared.identity import RECORD_FORMAT, IdentityKey, SiteName, TransportKey, read_record
from shared.keys import fingerprint
from shared.section import Section


class KeyCard(Section):
    """Public keys alone; the coordinator's is the one on the site's own invitation."""

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    site: SiteName
    transport_key: TransportKey
    identity_key: IdentityKey
    coordinator_key: IdentityKey

    def fingerprint(self) -> str:
        """As `RosterEntry.fingerprint`: what was compared when the site joined."""
        return fingerprint(self.transport_key, self.identity_key)

    def coordinator_fingerprint(self) -> str:
        """As `Invitation.coordinator_fingerprint`."""
        return fingerprint(self.coordinator_key)

    def encode(self) -> bytes:
        """The card's one form in bytes."""
        return canonical(self.model_dump(mode="json"))


def read_key_card(data: bytes) -> KeyCard:
    """Read what `KeyCard.encode` gave; the caller has bounded its length.

    Raises:
        ProtocolError: it is of another format.
        TrustError: it is not a key card.
    """
    return read_record(KeyCard, data, "key card")
