"""The books of one study, read again from outside: the server's journal against the sites' ledgers.

Pure: it counts what both sides wrote down and believes neither. Whether a figure is good or bad is
decided by the benchmark.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.journal import read_records
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateAdmitted, UpdateReady
from server.study_folder import StudyFolder
from shared.ledger import Entry, read_entries

Place = tuple[int, str]  # round, site


@dataclass(frozen=True)
class Update:
    """An update that counted: where, and its SHA-256."""

    place: Place
    digest: str


@dataclass(frozen=True)
class Books:
    """What the journal and the ledgers of one study say.

    Attributes:
        rounds: by committed round, the sites that counted.
        counted: every update that went into a committed model, as often as it did.
        released: by round and site, the digest of every update that left the site, in order.
        receipts: by round and site, how often the site was told that its update counted.
        replayed: how many reports of a site came from its spool.
    """

    rounds: Mapping[int, tuple[str, ...]]
    counted: tuple[Update, ...]
    released: Mapping[Place, tuple[str, ...]]
    receipts: Mapping[Place, int]
    replayed: int

    @property
    def double_counted(self) -> int:
        """Updates that counted more than once: in one round, in two, or by the sites' own receipts."""
        places = Counter(update.place for update in self.counted)
        bytes_of_site = Counter((update.place[1], update.digest) for update in self.counted)
        extra = max(_surplus(places), _surplus(bytes_of_site))
        return extra + _surplus(self.receipts)

    @property
    def unaccounted(self) -> int:
        """Counted updates that are not the one update which, by its own ledger, the site released."""
        return sum(set(self.released.get(update.place, ())) != {update.digest} for update in self.counted)

    def complete(self, sites: Iterable[str], *, rounds: int) -> bool:
        """Whether every one of these sites counted in every one of so many rounds."""
        everybody = set(sites)
        return len(self.rounds) == rounds and all(set(counted) == everybody for counted in self.rounds.values())


def read_books(folder: StudyFolder, ledgers: Mapping[str, Path]) -> Books:
    """The books of a study.

    Args:
        folder: the study.
        ledgers: by site, its ledger.

    Raises:
        TrustError: a journal or ledger is no sound chain.
    """
    records = [record for _, record in read_records(folder.path / "journal.jsonl")]
    entries = {site: list(read_entries(path)) for site, path in ledgers.items()}
    return keep_books(folder.name, records, entries)


def keep_books(study: str, records: Iterable[Record], entries: Mapping[str, Iterable[Entry]]) -> Books:
    """Add up a journal's records and the ledgers' entries, by site."""
    rounds: dict[int, tuple[str, ...]] = {}
    counted: list[Update] = []
    pending: list[UpdateAdmitted] = []
    replayed = 0
    for record in records:
        match record:
            case RoundOpened():
                pending = []
            case UpdateReady():
                replayed += record.replayed
            case UpdateAdmitted():
                pending.append(record)
            case RoundCommitted():
                rounds[record.round] = record.counted
                counted += [Update((u.round, u.site), u.update_digest) for u in pending if u.site in record.counted]
                pending = []
    said = {site: [e for e in of_site if e.data.get("study") == study] for site, of_site in entries.items()}
    return Books(rounds, tuple(counted), _released(said), _receipts(said), replayed)


def _released(entries: Mapping[str, list[Entry]]) -> dict[Place, tuple[str, ...]]:
    found: dict[Place, tuple[str, ...]] = {}
    for site, data in _of_type("release", entries):
        if data["update_digest"] is not None:
            place = (data["round"], site)
            found[place] = (*found.get(place, ()), data["update_digest"])
    return found


def _receipts(entries: Mapping[str, list[Entry]]) -> dict[Place, int]:
    return Counter((data["round"], site) for site, data in _of_type("receipt", entries) if data["outcome"] == "counted")


def _of_type(entry_type: str, entries: Mapping[str, list[Entry]]) -> Iterable[tuple[str, dict[str, Any]]]:
    return [(site, entry.data) for site, of_site in entries.items() for entry in of_site if entry.type == entry_type]


def _surplus(counts: Mapping[Any, int]) -> int:
    return sum(count - 1 for count in counts.values() if count > 1)
