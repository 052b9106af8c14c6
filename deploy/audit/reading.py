"""The entries of a file whose chain and signatures must hold to its end: a journal, or a ledger beside one."""

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.chain import Entry, verified
from shared.errors import TrustError
from shared.ledger import read_lines


def sound_entries(path: Path, key: Ed25519PublicKey, signer: str) -> Iterator[Entry]:
    """The entries, each after it was checked.

    Raises:
        TrustError: the file is broken; the message names the line.
    """
    count = 0
    try:
        for entry in verified(read_lines(path), public_key=key, signer=signer):
            count = entry.n
            yield entry
    except TrustError as error:
        raise TrustError(
            f"{path.name} is broken at line {count + 1}: {error.what}",
            remedy="Ask for the file again, and compare its signer's fingerprint; `wardround audit verify` says more.",
        ) from None
