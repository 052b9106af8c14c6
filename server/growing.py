"""A file that grows chunk by chunk, is hashed on the way, and gets its name only when it is whole.

The order is temporary file, fsync, rename, fsync of the folder: under its name a file is complete or
absent. What the bytes are is left to the spool and to the checkpoint.
"""

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Self

from shared.durable import rename_durably, wait_for_disk
from shared.errors import DiskFull, ResourceError

PARTIAL = ".part"


class GrowingFile:
    """A file in the making; leave its ``with`` block unfinished and nothing stays behind.

    Args:
        target: the name it will have; the folder must exist.

    Raises:
        ResourceError: the disk refused (also from `write` and `finish`).
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.size = 0  # bytes written
        self._hash = hashlib.sha256()
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
        except OSError as error:
            raise disk_refused(error) from None
        self._temporary = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was written so far."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes | memoryview) -> None:
        """Append bytes."""
        view = memoryview(chunk)
        self._hash.update(view)
        self.size += view.nbytes
        try:
            while view.nbytes:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise disk_refused(error) from None

    def finish(self) -> Path:
        """Give the file its name, durably; an older file of that name is replaced."""
        try:
            wait_for_disk(self._file.fileno())
            self._file.close()
            rename_durably(self._temporary, self.target)
        except OSError as error:
            raise disk_refused(error) from None
        return self.target

    def abort(self) -> None:
        """Forget what was written; after `finish` this does nothing."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def remove_partial(folder: Path) -> None:
    """Clear away what processes that died left unfinished; only for the folder's one owner."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def disk_refused(error: OSError) -> ResourceError:
    """Say what the disk refused, without naming the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull("The server's disk is full.", remedy="Make room under the federation folder.")
    return ResourceError(
        f"The server's disk refused a write ({error.strerror}).", remedy="Check the disk under the federation folder."
    )
