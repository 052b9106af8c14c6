"""Files that a power cut cannot halve.

Decides one thing: in which order bytes, names and folders reach the disk. Whole files are replaced
by write, fsync, rename, fsync of the folder; chained files grow by write and fsync. What the bytes
mean, and what to do with a torn last line, is left to the caller.

Only POSIX promises that the rename is atomic and that fsync of a folder makes a name durable; see
rename(2) and fsync(2).
"""

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file so that a reader, or a restart, sees the old bytes or the new, never a mixture.

    Args:
        path: the file; its folder must exist.
        data: the whole new content.
        mode: permission bits, set before the first byte is written, whatever the umask.

    Raises:
        OSError: the disk refused; the old file is untouched and no temporary file stays behind.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            flush(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_folder(path.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Move a finished file or folder to its name on the same file system, and make the name last.

    Raises:
        OSError: the target is a non-empty folder, or the disk refused.
    """
    os.replace(source, target)
    fsync_folder(target.parent)


def flush(descriptor: int) -> None:
    """Bring the bytes of an open file to the disk, as far as the system lets us ask for that."""
    os.fsync(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename or a new file survives a power cut after this."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)
