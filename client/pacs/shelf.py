"""The site's own folder of what it pulled: `pacs/images/`, each instance a file named by the hash of its UID.

Decides when an instance is there: when its whole file bears its name, which it gets once it is on the disk. So the
folder is its own index, a crash costs the file under way, and what is in `incoming/` at a start is rubbish. Nothing
is named by a patient, and nobody but the site's own account may look. What an image holds is judged by whoever
decodes it, in a process of its own; here only its first element group is read, which says which instance it is.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import read_dataset

from client.imaging.form import MAX_FILE_BYTES
from client.pacs.settings import PULLED
from shared.durable import rename_durably, try_lock, wait_for_disk
from shared.errors import DiskFull, ResourceError, naming_disk_full

_META_BYTES = 16 << 10  # enough of a file to hold its meta information (PS3.10 7.1), which has some hundreds
_PREAMBLE_BYTES = 132


class Unfit(Exception):
    """An instance that is not kept; `reason` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Shelf:
    """The pulled images of one site. Several threads may keep different instances.

    Args:
        site: the site's folder.
        free_bytes: of the disk, which stay free.
        most_bytes: of one file.
    """

    def __init__(self, site: Path, *, free_bytes: float, most_bytes: int = MAX_FILE_BYTES) -> None:
        self._folder = site / PULLED
        self._incoming = self._folder.with_name("incoming")
        self._free_bytes = free_bytes
        self._most_bytes = most_bytes

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folders, throw away what an earlier pull left half done, and keep other pulls out meanwhile.

        Raises:
            ResourceError: another pull runs.
        """
        for folder in (self._folder.parent, self._folder, self._incoming):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        lock = try_lock(self._folder.parent / "pull.lock")
        if lock is None:
            raise ResourceError("Another pull of this site runs.", remedy="Wait for its end, or stop it.")
        with lock:
            for left in self._incoming.iterdir():
                left.unlink()
            yield

    def has(self, instance: str) -> bool:
        """Whether an instance is here, whole."""
        return self._path(instance).exists()

    def count(self) -> int:
        """Files here."""
        return sum(1 for _ in self._folder.glob("*/*"))

    def keep(self, instance: str, pieces: Iterable[bytes]) -> int:
        """Write an instance down; on the disk when this returns.

        Returns:
            Its bytes.

        Raises:
            Unfit: it is too large, no DICOM file, or another instance than it should be.
            DiskFull: less would be free than has to stay free.
        """
        if shutil.disk_usage(self._incoming).free < self._free_bytes:
            raise DiskFull(
                "The disk has less room than data.pacs.free_gb; what was pulled stays.",
                remedy="Make room, or lower free_gb in site.toml; then give the same command again to go on.",
            )
        with naming_disk_full(), self._arriving() as (file, temporary):
            size = 0
            for piece in pieces:
                if (size := size + len(piece)) > self._most_bytes:
                    raise Unfit("too_large")
                file.write(piece)
            file.flush()
            _check(temporary, instance)
            wait_for_disk(file.fileno())
            path = self._path(instance)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            rename_durably(temporary, path)
        return size

    @contextmanager
    def _arriving(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A new file that only its owner may read; gone after the block unless it was moved to its name."""
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file, Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _path(self, instance: str) -> Path:
        name = hashlib.sha256(instance.encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.dcm"


def _check(file: Path, instance: str) -> None:
    with file.open("rb") as opened:
        head = opened.read(_META_BYTES)
    if head[_PREAMBLE_BYTES - 4 : _PREAMBLE_BYTES] != b"DICM":
        raise Unfit("not_dicom")
    try:
        meta = read_dataset(BytesIO(head[_PREAMBLE_BYTES:]), False, True, stop_when=lambda tag, _vr, _n: tag.group != 2)
        named = str(meta.get("MediaStorageSOPInstanceUID", "")).strip("\0 ")
    except Exception:  # pydicom says in many ways that it cannot read something
        raise Unfit("not_dicom") from None
    if named != instance:
        raise Unfit("another_instance" if named else "not_dicom")
