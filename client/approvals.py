"""Studies that wait for a person of the site: what is asked, and what was decided, as files in one folder.

`NAME.asked` holds the coordinator's signed opening of the study and since when it waits; the agent writes it.
`NAME.decision` holds what a person decided, signed with the site's identity key; `wardround site approve` and
`deny` write it, beside a running agent or none. A decision is about one contract by its digest: a study that was
amended, has another cohort rule, or is otherwise another one, waits anew, and so does one whose contract ran out. The
agent reads it when the site is asked the next time and writes it into the ledger, which it alone may write.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from client.person import Person, Reason
from shared.canonical import canonical, parse_canonical
from shared.durable import write_atomically
from shared.envelope import open_envelope, seal
from shared.errors import ProtocolError, TrustError
from shared.fields import Digest, Name
from shared.section import Section
from shared.site_terms import SiteTerms

PURPOSE = "wardround decision"


class Asked(Section):
    """A study that waits: its contract's digest, the site's terms, since when (RFC 3339), the signed opening in hex."""

    study: Name
    contract: Digest
    terms: SiteTerms
    since: str
    opening: str


class Decision(Section):
    """What a person of the site decided about one contract, and when (RFC 3339).

    `cohort` is the digest of the cohort rule that they were shown, `expires` when the contract ends.
    """

    study: Name
    study_digest: Digest
    contract: Digest
    cohort: Digest | None
    expires: str
    verdict: Literal["approved", "denied"]
    person: Person
    decided: str
    reason: Reason = ""


class Approvals:
    """The folder.

    Args:
        folder: where the files lie; made when the first is written.
        site: the site's name.
        key: the site's public identity key.
    """

    def __init__(self, folder: Path, *, site: str, key: Ed25519PublicKey) -> None:
        self._folder = folder
        self._keys = {site: key}

    def ask(self, asked: Asked) -> bool:
        """Let a study wait; whether it is new that this contract does."""
        before = self.asked(asked.study)
        if before is not None and before.contract == asked.contract:
            return False
        self._write(asked.study, "asked", canonical(asked.model_dump(mode="json")))
        return True

    def asked(self, study: str) -> Asked | None:
        """The study that waits under a name."""
        try:
            return Asked.model_validate_json((self._folder / f"{study}.asked").read_bytes())
        except (OSError, ValidationError):
            return None

    def waiting(self) -> Iterator[Asked]:
        """Every study that waits, by name."""
        for path in sorted(self._folder.glob("*.asked")):
            asked = self.asked(path.stem)
            if asked is not None and self.decision(asked.study, asked.contract) is None:
                yield asked

    def forget(self, study: str) -> None:
        """A study waits no longer, however it ended."""
        (self._folder / f"{study}.asked").unlink(missing_ok=True)

    def decide(self, decision: Decision, *, key: Ed25519PrivateKey) -> None:
        """Write down what a person decided; an earlier decision about the study is replaced."""
        (signer,) = self._keys
        body = canonical(decision.model_dump(mode="json"))
        self._write(decision.study, "decision", seal(body, key=key, signer=signer, purpose=PURPOSE))

    def decision(self, study: str, contract: str) -> Decision | None:
        """What was decided about a contract; None if nothing was, or if nobody of this site has signed it."""
        try:
            sealed = (self._folder / f"{study}.decision").read_bytes()
            found = Decision.model_validate(
                parse_canonical(open_envelope(sealed, keys=self._keys, purpose=PURPOSE).body)
            )
        except (OSError, ValidationError, TrustError, ProtocolError):
            return None
        return found if (found.study, found.contract) == (study, contract) else None

    def noted(self, decision: Decision) -> bool:
        """Whether the ledger has a decision already, as `note` says."""
        try:
            return (self._folder / f"{decision.study}.noted").read_text() == _mark(decision)
        except OSError:
            return False

    def note(self, decision: Decision) -> None:
        """The ledger has this decision."""
        self._write(decision.study, "noted", _mark(decision).encode())

    def _write(self, study: str, kind: str, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._folder / f"{study}.{kind}", data, mode=0o600)


def _mark(decision: Decision) -> str:
    return f"{decision.contract} {decision.verdict} {decision.decided}"
