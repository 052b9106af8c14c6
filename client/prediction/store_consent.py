"""A person's word that what one model says may be stored in the site's PACS: until when, where, and who gave it.

`store-consents/MODEL.consent` is signed with the site's identity key; without one that holds nothing is stored. It is
about one model by the digest of its weights and about one PACS: another model, another address, and a day behind the
last need a new one. `wardround site allow-store` writes and withdraws it; each of the two is an entry of the ledger.
A file holds only while it is the ledger's last word about its model: one that was put back after that is none. A line
that waited for the ledger and was damaged may have been a withdrawal, so no word from before it holds.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from client.join import Enrolment
from client.person import Person
from client.waiting_entries import DAMAGED, SaidEntries, Waiting
from shared.canonical import canonical, parse_canonical
from shared.durable import write_atomically
from shared.envelope import open_envelope, seal
from shared.errors import ProtocolError, TrustError
from shared.fields import Digest
from shared.section import Section

ENTRY, WITHDRAWN = "store_consent", "store_consent_withdrawn"
PURPOSE = "wardround store consent"


class StoreConsent(Section):
    """One: `given` is RFC 3339, UTC; `until` the last day on which it holds, by the site's own clock."""

    model: Digest
    destination: Annotated[str, Field(max_length=600)]
    person: Person
    given: str
    until: date


class StoreConsents:
    """The folder of them.

    Args:
        folder: the site's.
        enrolment: whose key signs.
    """

    def __init__(self, folder: Path, enrolment: Enrolment) -> None:
        self._folder = folder / "store-consents"
        self._said = SaidEntries(folder, {ENTRY, WITHDRAWN, DAMAGED})
        self._words: dict[str, Waiting] = {}  # the last about each model
        self._site = enrolment.invitation.site
        self._key: Ed25519PrivateKey = enrolment.identity_key
        self._public: Ed25519PublicKey = self._key.public_key()

    def give(self, consent: StoreConsent) -> None:
        """Sign and keep one; an earlier one about the model is replaced."""
        body = canonical(consent.model_dump(mode="json"))
        self._folder.mkdir(mode=0o700, exist_ok=True)
        sealed = seal(body, key=self._key, signer=self._site, purpose=PURPOSE)
        write_atomically(self._path(consent.model), sealed, mode=0o600)

    def known(self, model: str) -> bool:
        """Whether there is anything about a model to take back."""
        last = self._last_word(model)
        return self._path(model).exists() or (last is not None and last.type == ENTRY)

    def withdraw(self, model: str) -> None:
        """Remove what was said about a model."""
        self._path(model).unlink(missing_ok=True)

    def given(self, model: str) -> StoreConsent | None:
        """What was said about a model; None if nothing was, or if nobody of this site has signed it."""
        try:
            sealed = self._path(model).read_bytes()
            body = open_envelope(sealed, keys={self._site: self._public}, purpose=PURPOSE).body
            found = StoreConsent.model_validate_json(canonical(parse_canonical(body)))
        except (OSError, ValidationError, TrustError, ProtocolError):
            return None
        return found if found.model == model else None

    def insist(self, model: str, *, destination: str, today: date, command: str) -> StoreConsent:
        """The consent under which a result may be stored.

        Args:
            model: SHA-256 of the weights.
            destination: the PACS's label.
            today: by the site's clock.
            command: what gives it.

        Raises:
            TrustError: there is none that holds.
        """
        found = self.given(model)
        if found is None:
            raise _unsigned(f"Nobody of this site has signed that results of the model {model} may be stored.", command)
        if found.destination != destination:
            raise _unsigned(f"What was signed is about the PACS {found.destination}, and not {destination}.", command)
        if today > found.until:
            raise _unsigned(f"What {found.person} signed has ended on {found.until}.", command)
        if today < datetime.fromisoformat(found.given).astimezone().date():
            raise _unsigned(f"By this machine's clock, {found.person} has yet to sign, on {found.given}.", command)
        if self._last_word(model) != Waiting(type=ENTRY, data=found.model_dump(mode="json")):
            raise _unsigned(f"What {found.person} signed is not the ledger's last word about that model.", command)
        return found

    def _last_word(self, model: str) -> Waiting | None:
        for one in self._said.newer():
            if one.type == DAMAGED:
                self._words.clear()
            else:
                self._words[one.data["model"]] = one
        return self._words.get(model)

    def _path(self, model: str) -> Path:
        return self._folder / f"{model}.consent"


def _unsigned(what: str, command: str) -> TrustError:
    return TrustError(f"{what} Nothing more is stored.", remedy=f"Let whoever decides that sign it: `{command}`.")
