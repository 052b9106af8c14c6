"""The log of a study: its journal entry by entry, each told in words after its place in the chain was checked.

A log may be read while it grows. A line that is still being written, or that a crash tore off, is left
until it is whole. What the entries say is put into words by `server/narration.py`; whether the end is
signed is for the reader to say, who knows where the log ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from server.journal import record_of
from server.narration import told, told_by_ledger
from server.records import RECORDS
from shared.chain import HEAD, LONGEST_LINE, Entry, verified
from shared.identity import COORDINATOR
from shared.ledger import read_lines


@dataclass(frozen=True)
class Line:
    """One entry in words.

    Attributes:
        n: its place in the chain, from 1.
        time: RFC 3339, UTC.
        type: what kind of entry it is.
        round, site: what it is about, where it is about one.
        words: what it says.
    """

    n: int
    time: str
    type: str
    round: int | None
    site: str | None
    words: str

    @property
    def signs(self) -> bool:
        """Whether the coordinator signs the chain up to here."""
        return self.type == HEAD


def read_log(
    journal: Path,
    *,
    public_key: Ed25519PublicKey,
    over: Callable[[], bool] = lambda: True,
    rest: Callable[[], None] = lambda: None,
) -> Iterator[Line]:
    """The entries of a journal in words, oldest first.

    Args:
        journal: the file; it may be absent, or grow meanwhile.
        public_key: the coordinator's, against which every head is checked.
        over: whether the journal will not grow any more; until then its end is waited at.
        rest: called there before each new look.

    Raises:
        TrustError: the next entry breaks the chain, or its head's signature does not hold.
        ProtocolError: an entry has fields that this version does not know.
    """
    for entry in verified(_whole_lines(journal, over, rest), public_key=public_key, signer=COORDINATOR):
        yield _line(entry)


def _whole_lines(journal: Path, over: Callable[[], bool], rest: Callable[[], None]) -> Iterator[bytes]:
    at = 0
    while True:
        last_look = over()  # asked before reading, so that nothing is written between the two
        for line in read_lines(journal, start=at) if journal.exists() else ():
            if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                break
            at += len(line)
            yield line
        if last_look:
            return
        rest()


def _line(entry: Entry) -> Line:
    known = entry.type in RECORDS
    words = told(record_of(entry)) if known else told_by_ledger(entry.type, entry.data)
    number, site = entry.data.get("round"), entry.data.get("site")
    return Line(entry.n, entry.time, entry.type, number, site, words)
