"""Which images a study was opened with: the list stays at the site, its ledger holds a keyed hash of it.

    image-lists/<study digest>.offered              the worker's, of an opening that is not answered yet
    image-lists/<study digest>.<hash>.jsonl         the agent's: the list behind the hash in the ledger

A study that is opened anew with other images has another list; all of them stay, for the auditor. What a list says,
and what its hash is, `shared/image_list.py` decides.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from client.imaging.catalogue import Row
from client.privacy.patients import keyed, patient_key
from shared.canonical import canonical
from shared.durable import fsync_folder, show_file
from shared.errors import Refusal, WireCode, naming_disk_full
from shared.image_list import LONGEST_LIST, manifest_of, study_key


class ImageLists:
    """The lists of one site.

    Args:
        folder: the site's.
    """

    def __init__(self, folder: Path) -> None:
        self._site = folder
        self._folder = folder / "image-lists"

    def offer(self, study_digest: str, rows: Iterable[Row]) -> None:
        """The worker's word on the images of a study."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        show_file(self._offered(study_digest), listing(rows, key=patient_key(self._site)), mode=0o600)

    def commit(self, study_digest: str) -> str | None:
        """Keep the list that was offered; what the ledger has to say of it, None if none was.

        Raises:
            Refusal: `WORKER_CRASHED`, it is longer than any list.
            DiskFull: it cannot be kept.
        """
        try:
            with self._offered(study_digest).open("rb") as file:
                data = file.read(LONGEST_LIST + 1)
        except FileNotFoundError:
            return None
        if len(data) > LONGEST_LIST:
            raise Refusal(WireCode.WORKER_CRASHED)
        manifest = manifest_of(self.key(study_digest), data)
        with naming_disk_full():
            os.replace(self._offered(study_digest), self._folder / f"{study_digest}.{manifest}.jsonl")
            fsync_folder(self._folder)
        return manifest

    def key(self, study_digest: str) -> bytes:
        """The study's own key."""
        return study_key(patient_key(self._site), study_digest)

    def kept(self, study_digest: str) -> list[bytes]:
        """The lists that a study was opened with."""
        return [path.read_bytes() for path in sorted(self._folder.glob(f"{study_digest}.*.jsonl"))]

    def name(self, patient: bytes) -> bool:
        """Whether a list that a study was opened with has this keyed hash of a patient."""
        named = f'"patient":"{patient.hex()}"'.encode()
        return any(named in path.read_bytes() for path in self._folder.glob("*.jsonl"))

    def _offered(self, study_digest: str) -> Path:
        return self._folder / f"{study_digest}.offered"


def listing(rows: Iterable[Row], *, key: bytes) -> bytes:
    """The list of these images; `key` is that of the patients' hashes."""
    lines = (
        canonical(
            {
                "image": f"{row.content}/{row.index}",
                "labels": list(row.labels or ()),
                "patient": keyed(key, row.patient or "").hex(),
                "split": str(row.split),
            }
        )
        for row in rows
    )
    return b"".join(line + b"\n" for line in sorted(lines))
