"""Files that a power cut cannot halve.

Decides one thing: in which order bytes, names and folders reach the disk (write, fsync, rename,
fsync of the folder), and who may change a folder at a time. What the bytes mean is left to the
caller; files that grow line by line are in `shared/ledger.py`.

Only POSIX promises that the rename is atomic and that fsync of a folder makes a name durable; see
rename(2) and fsync(2).
"""

import contextlib
import errno
import fcntl
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

# what link(2) says where a file can have no second name: CIFS, exFAT, another file system, too many names
_NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_CHUNK_BYTES = 1 << 20
_volatile = threading.Event()  # of the whole process: its files are everybody's


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file so that a reader, or a restart, sees the old bytes or the new, never a mixture.

    Args:
        path: the file; its folder must exist.
        data: the whole new content.
        mode: permission bits, set before the first byte is written, whatever the umask.

    Raises:
        OSError: the disk refused; the old file is untouched and no temporary file stays behind.
    """
    _replace(path, io.BytesIO(data), mode=mode, sync=True)
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
    _replace(path, io.BytesIO(data), mode=mode, sync=False)


def rename_durably(source: Path, target: Path) -> None:
    """Move a finished file or folder to its name on the same file system, and make the name last.

    Raises:
        OSError: the target is a non-empty folder, or the disk refused.
    """
    os.replace(source, target)
    fsync_folder(target.parent)


def name_again(source: Path, target: Path) -> None:
    """Give a finished file a second name; on a file system without hard links, a whole copy of it bears that name.

    Raises:
        OSError: there is no such file, there is a file of that name, or the disk refused.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with source.open("rb") as file:
            _replace(target, file, mode=source.stat().st_mode & 0o777, sync=True)


def wait_for_disk(descriptor: int) -> None:
    """Wait until what was written through a descriptor is on the disk (fsync(2)), unless `never_waiting`.

    Raises:
        OSError: the disk refused.
    """
    if not _volatile.is_set():
        os.fsync(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename or a new file survives a power cut after this."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        wait_for_disk(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def never_waiting() -> Iterator[None]:
    """Inside, this process waits for no disk: only for a simulation, which a power cut may take with it.

    No process's death loses anything all the same; the kernel writes what it was given.
    """
    _volatile.set()
    try:
        yield
    finally:
        _volatile.clear()


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


def try_lock(path: Path) -> IO[str] | None:
    """A file's advisory lock (flock(2)), which goes with the process or when what is returned is closed.

    Args:
        path: made if need be; its folder must exist.

    Returns:
        The open file; None if another process has the lock.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    return file


def is_locked(path: Path) -> bool:
    """Whether a process has the lock of `try_lock` now."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _replace(path: Path, data: BinaryIO, *, mode: int, sync: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            shutil.copyfileobj(data, file, _CHUNK_BYTES)
            file.flush()
            if sync:
                wait_for_disk(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
