"""Files that a power cut cannot halve.

Decides one thing: in which order bytes, names and folders reach the disk (write, fsync, rename,
fsync of the folder), and who may change a folder at a time. What the bytes mean is left to the
caller; files that grow line by line are in `shared/ledger.py`.

Only POSIX promises that the rename is atomic and that fsync of a folder makes a name durable; see
rename(2) and fsync(2).
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
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
    _replace(path, data, mode=mode, sync=True)
    fsync_folder(path.parent)


def show_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file whole for readers, without waiting for the disk: a view that the next writing replaces.

    After a power cut its content may be an old one or none; never put there what must survive.

    Args:
        path: the file; its folder must exist.
        data: the whole new content.
        mode: permission bits, set before the first byte is written, whatever the umask.

    Raises:
        OSError: the disk refused; the old file is untouched.
    """
    _replace(path, data, mode=mode, sync=False)


def rename_durably(source: Path, target: Path) -> None:
    """Move a finished file or folder to its name on the same file system, and make the name last.

    Raises:
        OSError: the target is a non-empty folder, or the disk refused.
    """
    os.replace(source, target)
    fsync_folder(target.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename or a new file survives a power cut after this."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's advisory lock (flock(2)); waits for its holder, and goes with the process.

    For short read-change-write steps on the files of the folder by commands that know this lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, *, mode: int, sync: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
