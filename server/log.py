"""The log of a study: its journal entry by entry, each told in words after its place in the chain was checked.

A log may be read while it grows. A line that is still being written, or that a crash tore off, is left
until it is whole. What the entries say is put into words by `server/narration.py`; whether the end is
signed is for the reader to say, who knows where the log ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from server.drift import Habits
from server.journal import record_of
from server.narration import told, told_by_ledger, told_unusual
from server.records import RECORDS, RehearsalOpened
from shared.chain import HEAD, LONGEST_LINE, Entry, Tip, verified
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
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
        unusual: what was unusual at a site in the round that it commits; this is derived, and no entry says it.
    """

    n: int
    time: str
    type: str
    round: int | None
    site: str | None
    words: str
    unusual: tuple[str, ...] = ()

    @property
    def signs(self) -> bool:
        """Whether the coordinator signs the chain up to here."""
        return self.type == HEAD


class JournalReader:
    """The entries of a journal that may grow, each once, and each after it was checked.

    Args:
        journal: the file; it may be absent.
        public_key: the coordinator's, or all that have spoken for the federation, against which every head is checked.
    """

    def __init__(self, journal: Path, *, public_key: VerifyKey) -> None:
        self._journal = journal
        self._public_key = public_key
        self._tip = Tip()
        self._at = 0

    def entries(self) -> Iterator[Entry]:
        """Those that were added since the last call.

        Raises:
            TrustError: the next entry breaks the chain, or its head's signature does not hold.
        """
        lines = self._whole_lines()
        for entry in verified(lines, public_key=self._public_key, signer=COORDINATOR, after=self._tip):
            self._tip = Tip(entry.n, entry.hash)
            yield entry

    def _whole_lines(self) -> Iterator[bytes]:
        for line in read_lines(self._journal, start=self._at) if self._journal.exists() else ():
            if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                return
            self._at += len(line)
            yield line


def read_log(
    journal: JournalReader, *, over: Callable[[], bool] = lambda: True, rest: Callable[[], None] = lambda: None
) -> Iterator[Line]:
    """The entries of a journal in words, oldest first.

    Args:
        journal: what is read.
        over: whether the journal will not grow any more; until then its end is waited at.
        rest: called there before each new look.

    Raises:
        TrustError: as `JournalReader.entries`.
        ProtocolError: an entry has fields that this version does not know.
    """
    habits, rehearsed = Habits(), False
    while True:
        last_look = over()  # asked before reading, so that nothing is written between the two
        for entry in journal.entries():
            rehearsed = rehearsed or entry.type == RehearsalOpened.entry_type()
            yield _line(entry, habits, rehearsed=rehearsed)
        if last_look:
            return
        rest()


def _line(entry: Entry, habits: Habits, *, rehearsed: bool) -> Line:
    number, site = entry.data.get("round"), entry.data.get("site")
    line = Line(entry.n, entry.time, entry.type, number, site, told_by_ledger(entry.type, entry.data))
    if entry.type not in RECORDS:
        return line
    record = record_of(entry)
    return replace(line, words=told(record, rehearsed=rehearsed), unusual=tuple(told_unusual(habits.take(record))))
