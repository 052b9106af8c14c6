"""What lies in a study's folder, read once; nothing is judged here.

The chain of the journal is checked while it is read. The signatures of its heads are not: that takes
the coordinator's public key, and is the auditor's business.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.checkpoint import Checkpoints
from server.history import StudyHistory
from server.journal import read_records
from server.launch import START_MODEL
from server.record import Record
from server.study_folder import Standing, StudyFolder
from shared.chain import HEAD, NO_ENTRY
from shared.errors import ResourceError
from shared.ledger import read_entries
from shared.study import Study


@dataclass(frozen=True)
class Chain:
    """How far the journal goes, and how far the coordinator's last signature reaches."""

    entries: int = 0
    head: str = NO_ENTRY
    signed_entries: int = 0
    signed_head: str | None = None


@dataclass(frozen=True)
class ModelFile:
    """A model on the disk; `path` is relative to the study's folder, `digest` None if it is missing."""

    path: str
    digest: str | None


@dataclass(frozen=True)
class Evidence:
    """A study's folder as the report reads it.

    Attributes:
        records: what the journal says, each with its time, oldest first.
        history: what the records add up to.
        model_file: the final model; as long as none is chosen the last one, which may be the start model.
        study_digest: of the study as it lies in the folder.
        by_letter: the sites' names were taken out (`server/report/letters.py`).
    """

    study: Study
    standing: Standing
    records: tuple[tuple[datetime, Record], ...]
    history: StudyHistory
    chain: Chain
    model_file: ModelFile
    study_digest: str
    by_letter: bool = False


def read_evidence(folder: StudyFolder) -> Evidence:
    """Read a study's folder.

    Raises:
        StudyError: it holds no sound study.
        TrustError: its journal is no sound chain, or contradicts itself.
        ResourceError: the disk refused.
    """
    journal = folder.journal
    try:
        records = _records(journal)
        history = StudyHistory.replay(record for _, record in records)
        model_file = _model_file(folder.path, history)
        study, standing = folder.study(), folder.standing()
        return Evidence(study, standing, records, history, _chain(journal), model_file, study.digest())
    except OSError as error:
        raise ResourceError(
            f"The study's folder cannot be read ({error.strerror}).", remedy="Check the disk under the federation."
        ) from None


def _records(journal: Path) -> tuple[tuple[datetime, Record], ...]:
    if not journal.exists():  # a queued study has none yet
        return ()
    return tuple((datetime.fromisoformat(entry.time), record) for entry, record in read_records(journal))


def _chain(journal: Path) -> Chain:
    chain = Chain()
    for entry in read_entries(journal) if journal.exists() else ():
        signed = (entry.n, entry.hash) if entry.type == HEAD else (chain.signed_entries, chain.signed_head)
        chain = Chain(entry.n, entry.hash, *signed)
    return chain


def _model_file(folder: Path, history: StudyHistory) -> ModelFile:
    models = Checkpoints(folder / START_MODEL.parent)
    path = models.model(history.final_round) if history.final_round else folder / START_MODEL
    name = path.relative_to(folder).as_posix()
    if not path.exists():
        return ModelFile(name, None)
    with path.open("rb") as file:
        return ModelFile(name, hashlib.file_digest(file, "sha256").hexdigest())
