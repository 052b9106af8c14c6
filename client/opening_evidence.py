"""The coordinator's openings as they were signed, kept so that an auditor can be shown who asked for what.

    openings/<SHA-256 of the envelope>.envelope

Kept is each envelope that the site agreed to, byte for byte: of every study, every amended one, every cohort and every
time that a study was opened anew. Of more than `MOST_KEPT` the oldest go; the audit names the contracts that are then
without. What an envelope is, `shared/envelope.py` decides.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.canonical import canonical, digest
from shared.durable import write_atomically
from shared.errors import naming_disk_full
from shared.openings import KeptOpening

FOLDER = Path("openings")
MOST_KEPT = 1000


def keep_opening(site: Path, envelope: bytes, *, most: int = MOST_KEPT) -> None:
    """Keep what the coordinator signed, in a site's folder.

    Raises:
        DiskFull: it cannot be kept.
    """
    (site / FOLDER).mkdir(mode=0o700, exist_ok=True)
    with naming_disk_full():
        write_atomically(site / FOLDER / f"{digest(envelope)}.envelope", envelope, mode=0o600)
    for path in sorted(_kept(site), key=lambda path: path.stat().st_mtime_ns)[:-most]:
        path.unlink(missing_ok=True)


def kept_openings(site: Path) -> Iterator[bytes]:
    """Each opening as one line for an auditor (`shared/openings.py`)."""
    for path in sorted(_kept(site)):
        yield canonical(KeptOpening(envelope=path.read_bytes().hex()).model_dump(mode="json")) + b"\n"


def _kept(site: Path) -> Iterator[Path]:
    return (site / FOLDER).glob("*.envelope")
