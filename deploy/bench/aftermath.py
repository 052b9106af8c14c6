"""What a study left behind after a fault, read by the auditor's means: model, journal, ledgers, files.

The model's digest is taken from the file that the coordinator would export; the chains are checked with
the keys of the roster; every site's last word must be anchored in the journal. Whether that is good
or bad is decided by the benchmark.
"""

import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.bench.accounts import Books, Place, read_books
from server.federation import Federation
from server.journal import read_records
from server.launch import FINAL_MODEL
from server.ledger_records import SiteClosed
from server.record import Record
from server.records import RoundCommitted, UpdateAdmitted
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.identity import COORDINATOR
from shared.keys import read_identity_hex
from shared.ledger import read_entries, read_lines, verify

_UNFINISHED = re.compile(r".*\.(part|partial|tmp)")


@dataclass(frozen=True)
class Aftermath:
    """One study after its end.

    Attributes:
        weights_sha256: of the final model; None if there is none.
        all_counted: every site counted in every round.
        lost: updates that were finished, and neither counted nor named with a cause.
        double_counted: updates that counted more than once.
        unaccounted: counted updates that are not what their site's ledger says it released.
        ledgers_verify: the journal and every ledger hold, and the journal's anchors stand in the ledgers.
    """

    weights_sha256: str | None
    all_counted: bool
    lost: int
    double_counted: int
    unaccounted: int
    ledgers_verify: bool


def aftermath(federation: Federation, folder: StudyFolder, ledgers: Mapping[str, Path], *, rounds: int) -> Aftermath:
    """Look at a study that is over.

    Args:
        federation: whose roster has the keys.
        folder: the study.
        ledgers: by site, its ledger.
        rounds: how many the study has.

    Raises:
        TrustError: a journal or ledger cannot be read at all.
    """
    records = [record for _, record in read_records(folder.path / "journal.jsonl")]
    books, model = read_books(folder, ledgers), folder.path / FINAL_MODEL
    return Aftermath(
        weights_sha256=digest(model.read_bytes()) if model.exists() else None,
        all_counted=books.complete(ledgers, rounds=rounds),
        lost=len(lost(books, records)),
        double_counted=books.double_counted,
        unaccounted=books.unaccounted,
        ledgers_verify=_chains_hold(federation, folder, ledgers) and _anchored(records, ledgers),
    )


def lost(books: Books, records: Iterable[Record]) -> set[Place]:
    """Rounds and sites whose update was released or admitted, and of which no committed round speaks."""
    done, settled = set(books.released), set()
    for record in records:
        if isinstance(record, UpdateAdmitted):
            done.add((record.round, record.site))
        elif isinstance(record, RoundCommitted):
            named = (*record.counted, *record.late, *record.refused, *record.absent)
            settled |= {(record.round, site) for site in named}
    return done - settled


def unfinished_files(root: Path) -> set[Path]:
    """Temporary files and folders that somebody began and nobody finished."""
    return {path for path in root.rglob("*") if _UNFINISHED.fullmatch(path.name)}


def held_locks(root: Path) -> list[Path]:
    """Lock files that a process holds now."""
    return [path for path in root.rglob("*.lock") if _held(path)]


def _held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _chains_hold(federation: Federation, folder: StudyFolder, ledgers: Mapping[str, Path]) -> bool:
    journal, ours = folder.path / "journal.jsonl", federation.coordinator_key.public_key()
    whole = [verify(read_lines(journal), public_key=ours, signer=COORDINATOR).ok]
    for site, path in ledgers.items():
        theirs = read_identity_hex(federation.roster.by_site(site).identity_key)
        whole.append(verify(read_lines(path), public_key=theirs, signer=site).ok)
    return all(whole)


def _anchored(records: Iterable[Record], ledgers: Mapping[str, Path]) -> bool:
    heads = {(r.site, r.head) for r in records if isinstance(r, SiteClosed)}
    return heads <= {(site, entry_hash) for site, path in ledgers.items() for entry_hash in _hashes(path)}


def _hashes(path: Path) -> Iterator[str]:
    return (entry.hash for entry in read_entries(path))
