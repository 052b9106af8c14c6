"""The coordinator's openings as they were signed, kept so that an auditor can be shown who asked for what.

    openings/<digest of the study>.<digest of the cohort rule>.<coordinator's key>.envelope

Kept is each envelope that the site agreed to, byte for byte: of every study, every amended one and every cohort, which
is what the contract for it names, by each coordinator. Of a study that the same one opened anew with the same cohort
the newest is kept, which asks for the same. None goes to make room for another: whoever could push out what it asked
for could deny it. What an envelope is, `shared/envelope.py` decides.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.canonical import canonical
from shared.durable import write_atomically
from shared.errors import naming_disk_full
from shared.openings import KeptOpening

FOLDER = Path("openings")


def keep_opening(site: Path, envelope: bytes, *, study_digest: str, cohort: str | None, by: str) -> None:
    """Keep what the coordinator signed, in a site's folder.

    Args:
        site: the site's folder.
        envelope: as it came.
        study_digest: of the study that it asks for.
        cohort: the digest of its cohort rule; None where it names no sites.
        by: the fingerprint of the key that signed it.

    Raises:
        DiskFull: it cannot be kept.
    """
    (site / FOLDER).mkdir(mode=0o700, exist_ok=True)
    with naming_disk_full():
        name = f"{study_digest}.{cohort or 'none'}.{by.replace(' ', '')}.envelope"
        write_atomically(site / FOLDER / name, envelope, mode=0o600)


def kept_openings(site: Path) -> Iterator[bytes]:
    """Each opening as one line for an auditor (`shared/openings.py`)."""
    for path in sorted((site / FOLDER).glob("*.envelope")):
        yield canonical(KeptOpening(envelope=path.read_bytes().hex()).model_dump(mode="json")) + b"\n"
