"""Receipts: the coordinator's word to a site on one finished round, a statement that anybody can check by itself.

A receipt says what became of the site's work, which head of the site's ledger the coordinator held then, and
the root of all sites' heads. It is one line of canonical JSON whose signature covers the text `PURPOSE` and the
same JSON without the signature, so that it stands without the message that brought it. The site keeps it
beside its ledger and hands both to an auditor; the format is in `docs/ledger-format.md`.
"""

from typing import Annotated, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from shared.canonical import canonical, parse_canonical
from shared.errors import TrustError
from shared.fields import Digest, Name
from shared.heads import Head
from shared.keys import VerifyKey
from shared.section import Section

PURPOSE = b"wardround receipt 1\n"
LONGEST = 4096  # bytes of a line, newline included
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"


class Receipt(Section):
    """The coordinator's word on one finished round for one site, or on the study that the site put away.

    `outcome` is `counted` only after the checkpoint that holds the update is on disk; `update_digest` is
    None if the round closed before the site announced an update. Of a study that was put away the outcome is
    `closed`. `head` is the last that the coordinator holds of the site's ledger, if any, `root` that of
    all sites' heads, and `time` the coordinator's, RFC 3339 in UTC.
    """

    site: Name
    study: Name
    round: Annotated[int, Field(ge=0, le=2**40)]
    outcome: Literal["counted", "refused", "late", "closed"]
    update_digest: Digest | None
    model_digest: Digest  # the committed global model
    head: Head | None
    root: Digest
    time: Annotated[str, Field(pattern=_TIME)]
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""

    def signed(self, key: Ed25519PrivateKey) -> Self:
        """The same, signed by the coordinator's identity key."""
        return self.model_copy(update={"signature": key.sign(self._signed_text()).hex()})

    def holds(self, coordinator: VerifyKey) -> bool:
        """Whether the coordinator signed it."""
        try:
            coordinator.verify(bytes.fromhex(self.signature), self._signed_text())
        except InvalidSignature:
            return False
        return True

    def line(self) -> bytes:
        """The statement as it is kept, a newline at its end."""
        return canonical(self.model_dump(mode="json")) + b"\n"

    def _signed_text(self) -> bytes:
        return PURPOSE + canonical(self.model_dump(mode="json", exclude={"signature"}))


def read_receipt(line: bytes) -> Receipt:
    """A receipt from its line; whether it `holds` is for the reader to ask.

    Raises:
        TrustError: the line is no receipt in its one form.
    """
    try:
        return Receipt.model_validate(parse_canonical(line[:LONGEST].removesuffix(b"\n")))
    except (ValidationError, TrustError):
        raise TrustError("A line is no receipt.", remedy="Ask the site, or the coordinator, for it again.") from None
