"""What a study left at a site, and how it goes: decoded images, models, residuals and finished work.

Removed is, in this order, so that a purge that a crash ended is repeated by the same command:

1. the study's folder in the spool: updates, the layers that stay here, residuals, the models seen last;
2. entries of the image cache that no other study uses that was opened here, and that is not purged: what a dry run, a
   rehearsal or the study before an amendment used holds nothing back;
3. the frozen backbone that it brought, if no other study here names it;
4. the list of who trained privately.

What an auditor needs stays: ledger, budget, receipts, openings, approvals, the lists of images, and the record of the
study itself. That record says from then on that the study was purged: without its spool the site could be asked for a
round twice, so a study of its name is refused here (`state_lost`).
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.backbones import Backbones
from client.cache_uses import entries, forget_use, users
from client.coordinators import Coordinators
from client.join import load_invitation
from client.privacy.training_patients import TrainingPatients
from client.study_store import StudyRecord, StudyStore
from shared.amendment import trail
from shared.disks import bytes_under
from shared.errors import ConfigError, StudyError, TrustError
from shared.ledger import Ledger

ENTRY = "study_purged"


@dataclass(frozen=True)
class Leftovers:
    """What is there to remove of a study; `shared` are cache entries that other studies use, too, and that stay."""

    record: StudyRecord
    spool: tuple[Path, ...]
    cache: tuple[Path, ...]
    backbones: tuple[Path, ...]
    shared: tuple[Path, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by kind."""
        kinds = {"spool": self.spool, "cache": self.cache, "backbone": self.backbones}
        return {kind: bytes_under(*places) for kind, places in kinds.items()}


def leftovers(folder: Path, study: str, *, abandoned: bool) -> Leftovers:
    """Look for what a study left.

    Args:
        folder: the site's; its agent is stopped.
        study: the study's name.
        abandoned: whether it may be open here still, because nobody will close it.

    Raises:
        ConfigError: no study of that name was opened here.
        StudyError: it is open here.
    """
    store = StudyStore(folder / "state")
    record = store.find(study)
    if record is None:
        known = ", ".join(store.names()) or "none"
        raise ConfigError(f"No study {study} was opened here.", remedy=f"Name one of these: {known}.")
    if not (record.closed or abandoned):
        raise StudyError(
            f"The study {study} is open here.",
            remedy="Have its coordinator stop it first. If nobody ever will, add --abandoned.",
        )
    own, others = _digests(folder, record), _others(folder, record, store)
    used = [entry for entry in entries(folder / "cache") if own & users(entry)]
    return Leftovers(
        record=record,
        spool=tuple(path for path in (folder / "spool" / study,) if path.exists()),
        cache=tuple(entry for entry in used if not users(entry) & others),
        backbones=tuple(_backbone(folder, record, store)),
        shared=tuple(entry for entry in used if users(entry) & others),
    )


def purge(folder: Path, found: Leftovers, ledger: Ledger, *, by: str, now: str) -> int:
    """Remove it; returns the bytes that are free again.

    Args:
        folder: the site's; its agent is stopped.
        found: what `leftovers` found.
        ledger: the site's.
        by: who does it.
        now: RFC 3339, UTC.

    Raises:
        DiskFull: it cannot be written down; nothing was removed.
        OSError: something cannot be removed.
    """
    study, sizes = found.record.open.study, found.sizes
    said = {"study": study.name, "study_digest": study.digest(), "by": by, "bytes": sum(sizes.values())}
    ledger.append(ENTRY, said, time=now)
    StudyStore(folder / "state").save(found.record.model_copy(update={"closed": True, "purged": True}))
    for place in (*found.spool, *found.cache):
        shutil.rmtree(place)
    for path in found.backbones:
        path.unlink()
    for entry in found.shared:
        for digest in _digests(folder, found.record):
            forget_use(entry, digest)
    TrainingPatients(folder).forget(study.digest())
    ledger.sign_head(time=now)
    return sum(sizes.values())


def _digests(folder: Path, record: StudyRecord) -> set[str]:
    """All that the study has had, before each amendment and now."""
    coordinator = Coordinators(folder, load_invitation(folder)).keys
    try:
        return set(trail(record.open.study, record.open.amendments, coordinator=coordinator))
    except TrustError:  # signed by a key that the coordinator has no more
        return {record.open.study.digest()}


def _others(folder: Path, record: StudyRecord, store: StudyStore) -> set[str]:
    """The digests of the other studies that were opened here and are not purged."""
    found = (store.find(name) for name in store.names() if name != record.open.study.name)
    return {digest for other in found if other is not None and not other.purged for digest in _digests(folder, other)}


def _backbone(folder: Path, record: StudyRecord, store: StudyStore) -> Iterator[Path]:
    """The file that came with the study's opening; what hospital IT laid there has another name, and stays."""
    name = record.open.study.name
    wanted = _sha256(record)
    others = {_sha256(other) for known in store.names() if known != name and (other := store.find(known))}
    if wanted and wanted not in others:
        path = Backbones(folder).brought(wanted)
        yield from (one for one in (path,) if one.is_file())


def _sha256(record: StudyRecord) -> str | None:
    backbone = record.open.study.backbone
    return backbone.sha256 if backbone is not None else None
