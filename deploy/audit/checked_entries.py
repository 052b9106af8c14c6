"""A ledger's entries for a command that passes no verdict on the ledger, with what was checked of them meanwhile.

Without the site's key that is the chain: one that anybody can make. With it, each signed head, too, of which there must
be one. Entries behind the last head are given all the same, and counted: whoever handed the file over may have added
what left or was charged, and nobody gains by it. What else holds a ledger, `wardround audit verify` says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.audit.keys import Signer
from deploy.audit.reading import chained_entries, sound_entries, unsigned
from shared.chain import HEAD, Entry


class CheckedEntries:
    """The entries of one ledger.

    Args:
        file: the ledger.
        signer: whose it is; None checks no signature.
    """

    def __init__(self, file: Path, signer: Signer | None) -> None:
        self._file, self._signer = file, signer
        self._count = self._signed = 0

    def __iter__(self) -> Iterator[Entry]:
        """Each entry after it was checked.

        Raises:
            TrustError: the file is broken, or nothing in it is signed by the signer.
        """
        for entry in self._entries():
            self._count = entry.n
            self._signed = entry.n if entry.type == HEAD else self._signed
            yield entry
        if self._signer is not None and not self._signed:
            raise unsigned()

    def data(self) -> dict[str, Any]:
        """What was checked of the entries that were given, for a program."""
        if self._signer is None:
            return {"signatures_checked": False}
        behind = self._count - self._signed
        return {"signatures_checked": True, "fingerprint": self._signer.fingerprint, "behind_signature": behind}

    def words(self) -> str:
        """The same for a person."""
        if self._signer is None:
            return "The chain was checked, no signature: anybody can make such a file.\nName the site's key with --key."
        said = f"Chain and signatures were checked, with the key of {self._signer.name}:\n{self._signer.fingerprint}"
        behind = self._count - self._signed
        return f"{said}\nEntries behind the last signature, which anybody can add: {behind}." if behind else said

    def _entries(self) -> Iterator[Entry]:
        if self._signer is None:
            return chained_entries(self._file)
        return sound_entries(self._file, self._signer.key, self._signer.name)
