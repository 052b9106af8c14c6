"""The journal: the server's ledger of one study, written as typed records and read back as a history.

Writes a record before it counts and seals the chain with a signed head when a round, a site or the study
is closed. What a round has received need not be on the disk before `Journal.sync`, which comes before the
round's checkpoint: until then nobody is told of it, and a restart asks again. The chain itself is
`shared/ledger.py`'s, the meaning of the records `server/history.py`'s.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from server.history import LiveHistory, StudyHistory
from server.ledger_records import SiteClosed
from server.record import Record
from server.records import (
    RECORDS,
    OwnModelScored,
    RoundCommitted,
    SiteScored,
    SiteValidated,
    StudyFailed,
    StudyFinished,
    StudyPaused,
    StudyStopped,
    UpdateAdmitted,
    UpdateReady,
    UpdateSpooled,
)
from shared.errors import ProtocolError
from shared.identity import COORDINATOR
from shared.ledger import Entry, Ledger, read_entries

_ENDING = (StudyFinished, StudyStopped, StudyPaused, StudyFailed)
_SEALING = (RoundCommitted, SiteClosed, *_ENDING)  # the head that follows waits for the disk
_RECEIVED = (UpdateReady, UpdateSpooled, UpdateAdmitted, SiteScored, SiteValidated, OwnModelScored)


class Journal:
    """A study's journal open for writing.

    Attributes:
        history: what the records so far add up to for who goes on from them, those written here included.
    """

    def __init__(self, ledger: Ledger, history: LiveHistory, *, clock: Callable[[], str]) -> None:
        self.history = history
        self._ledger = ledger
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, key: Ed25519PrivateKey, clock: Callable[[], str]) -> Self:
        """Open a journal, or start one.

        Args:
            path: the file; its folder must exist.
            key: the coordinator's identity key, for heads.
            clock: the time of an entry, RFC 3339 UTC (see `shared.ledger.timestamp`).

        Raises:
            TrustError: the file is no sound chain, or its records contradict each other.
            ResourceError: the disk refused.
        """
        ledger = Ledger.open(path, key=key, signer=COORDINATOR, now=clock())
        try:
            return cls(ledger, read_live_history(path), clock=clock)
        except BaseException:
            ledger.close()
            raise

    def write(self, record: Record) -> Entry:
        """Put a record into the file, then into the history.

        Raises:
            TrustError: the record contradicts the history; nothing was written.
            StaleEpoch: another process wrote to the journal.
            ResourceError: the disk refused; nothing changed.
        """
        self.history.check(record)
        wait = not isinstance(record, _SEALING + _RECEIVED)
        data = record.model_dump(mode="json")
        entry = self._ledger.append(record.entry_type(), data, time=self._clock(), wait=wait)
        self.history.apply(record)
        if isinstance(record, _SEALING):
            self._ledger.sign_head(time=self._clock())
        return entry

    def sync(self) -> None:
        """Wait until every record so far is on the disk; raises `ResourceError`."""
        self._ledger.sync()

    def close(self) -> None:
        """Give the file back."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_live_history(path: Path) -> LiveHistory:
    """What of a journal file's history a conductor goes on from; raises as `Journal.open`."""
    return LiveHistory.replay(record for _, record in read_records(path))


def read_history(path: Path) -> StudyHistory:
    """The whole history that a journal file tells; raises as `Journal.open`."""
    return StudyHistory.replay(record for _, record in read_records(path))


def read_records(path: Path) -> Iterator[tuple[Entry, Record]]:
    """The records of a journal file with their entries; the ledger's own entries are left out.

    Raises:
        TrustError: the file is no sound chain.
        ProtocolError: a record was written by another version.
    """
    for entry in read_entries(path):
        if entry.type in RECORDS:
            yield entry, record_of(entry)


def record_of(entry: Entry) -> Record:
    """What an entry of a type of `RECORDS` says; raises `ProtocolError` as `read_records`."""
    try:
        return RECORDS[entry.type].model_validate(entry.data)
    except ValidationError:
        raise ProtocolError(
            f"Entry {entry.n} of the journal ({entry.type}) has fields that this version does not know.",
            remedy="Use the version of Wardround that wrote the journal.",
        ) from None
