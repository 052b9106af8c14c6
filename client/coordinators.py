"""Who may speak for the federation to this site: the coordinator who invited it, or whoever leads by mandate since.

The mandates (`shared/mandate.py`) come with the messages of a study, or as a file; the newest that were followed are
`coordinators.signed` in the site's folder. What is said now must be signed by who leads now. What a coordinator signed
while leading (an opening that waits for a person, an amendment, a receipt, a released model) stays theirs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.kept_record import read_kept
from shared.durable import locked, write_atomically
from shared.enrolment import Invitation
from shared.envelope import open_envelope
from shared.errors import TrustError
from shared.identity import COORDINATOR
from shared.keys import KeysInTurn, Noting, fingerprint, identity_hex, read_identity_hex
from shared.mandate import LARGEST, SignedMandate, Succession, follow, read_succession
from shared.wire import to_site

FILE_NAME = "coordinators.signed"
ENTRY = "mandate_followed"
Note = Callable[[str, dict[str, Any]], object]


class Coordinators:
    """Who has spoken for the federation, as one site knows it.

    Args:
        folder: the site's.
        invitation: the site's own.

    Raises:
        ConfigError: the mandates cannot be read.
        TrustError: they are damaged.
    """

    def __init__(self, folder: Path, invitation: Invitation) -> None:
        self._folder, self._invitation = folder, invitation
        self._seen = _load(folder, invitation)

    @property
    def key(self) -> Ed25519PublicKey:
        """The key that speaks for the federation now."""
        return self._seen.newest.leader().public_key() if self._seen else self._invited

    @property
    def keys(self) -> KeysInTurn:
        """All keys that have spoken for it, the present one last."""
        return self._seen.keys() if self._seen else KeysInTurn((self._invited,))

    @property
    def mandate(self) -> SignedMandate | None:
        """The mandate that is followed; None if the coordinator is the one who invited this site."""
        return self._seen.newest if self._seen else None

    @property
    def succession(self) -> Succession | None:
        """The mandates that are followed; None if there were none."""
        return self._seen

    @property
    def _invited(self) -> Ed25519PublicKey:
        return read_identity_hex(self._invitation.coordinator_key)

    def fingerprint(self) -> str:
        """The present key in a form that two people can compare."""
        return fingerprint(identity_hex(self.key))

    def signer_of(self, envelope: bytes, *, site: str) -> str:
        """The fingerprint of the key that signed a message to this site, which was believed when it came.

        Raises:
            TrustError: none that the site has followed did.
        """
        noting = Noting(*self.keys.keys)
        open_envelope(envelope, keys={COORDINATOR: noting}, purpose=to_site(site))
        return fingerprint(identity_hex(noting.held))

    def take(self, data: bytes, *, note: Note) -> Succession | None:
        """Follow mandates that came, by the rules; what was followed already changes nothing.

        Args:
            data: the succession's bytes, not believed yet.
            note: lets the ledger say `ENTRY` and this; called before the mandates are kept.

        Returns:
            The succession, if it is another than before.

        Raises:
            ConfigError: what was followed before cannot be read.
            ProtocolError: it was made for another protocol number.
            TrustError: a rule does not hold; what was followed before stays.
        """
        with locked(self._folder / "keys"):  # the lock of the site's folder is the note's
            self._seen = self._longest()
            if self._seen is not None and data == self._seen.encode():
                return None
            invited = self._invitation
            found = follow(
                read_succession(data), federation=invited.federation, trusted=invited.coordinator_key, seen=self._seen
            )
            if self._seen is not None and len(found.mandates) == len(self._seen.mandates):
                return None
            note(ENTRY, _entry_of(found))
            write_atomically(self._folder / FILE_NAME, data, mode=0o600)
            self._seen = found
            return found

    def explain(self, error: TrustError, holds: Callable[[Ed25519PublicKey], bool]) -> TrustError:
        """Why a message is not believed, in better words if one who led before signed it.

        Args:
            error: as it was found.
            holds: whether the message holds against a key.
        """
        for key in self.keys.keys[:-1]:
            if holds(key):
                return TrustError(
                    f"It is signed by {self.gave_up(key)}.",
                    remedy="Ask the coordinator who still uses the old key, and where.",
                )
        return error

    def gave_up(self, key: Ed25519PublicKey) -> str | None:
        """As `Succession.gave_up`."""
        return self._seen.gave_up(key) if self._seen else None

    def _longest(self) -> Succession | None:
        """What is followed here, or in the folder: beside an agent that runs, a command may have followed more."""
        kept = _load(self._folder, self._invitation)
        return max((one for one in (self._seen, kept) if one), key=lambda one: len(one.mandates), default=None)


def _load(folder: Path, invitation: Invitation) -> Succession | None:
    if (data := read_kept(folder / FILE_NAME, limit=LARGEST)) is None:
        return None
    return follow(
        read_succession(data), federation=invitation.federation, trusted=invitation.coordinator_key, seen=None
    )


def _entry_of(found: Succession) -> dict[str, Any]:
    newest = found.newest
    return {
        "number": newest.number,
        "mandate": newest.digest(),
        "issued": newest.issued,
        "lead": newest.lead,
        "fingerprint": newest.leader().fingerprint(),
        "others": [one.name for one in newest.beside()],
    }
