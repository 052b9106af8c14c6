"""The coordinator's openings as they were signed, kept so that an auditor can be shown who asked for what.

    openings/<study digest>.envelope

Kept is the envelope that the site agreed to, byte for byte, of every study and every amended one; the last of equal
ones. What an envelope is, `shared/envelope.py` decides.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.canonical import canonical
from shared.durable import write_atomically
from shared.errors import naming_disk_full
from shared.openings import KeptOpening

FOLDER = Path("openings")


def keep_opening(site: Path, study_digest: str, envelope: bytes) -> None:
    """Keep what the coordinator signed, in a site's folder.

    Raises:
        DiskFull: it cannot be kept.
    """
    (site / FOLDER).mkdir(mode=0o700, exist_ok=True)
    with naming_disk_full():
        write_atomically(site / FOLDER / f"{study_digest}.envelope", envelope, mode=0o600)


def kept_openings(site: Path) -> Iterator[bytes]:
    """Each opening as one line for an auditor (`shared/openings.py`)."""
    for path in sorted((site / FOLDER).glob("*.envelope")):
        kept = KeptOpening(study_digest=path.stem, envelope=path.read_bytes().hex())
        yield canonical(kept.model_dump(mode="json")) + b"\n"
