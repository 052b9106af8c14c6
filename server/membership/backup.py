"""Backup and restore of a whole federation folder: keys, authority, roster, settings, studies with their journals.

Left out is what the next start makes anew: `run/`, the proxy's temporary files, and what is half written. A backup is
taken while nobody serves the federation, so that journals and models belong together; it is read back before it gets
its name. A restored folder appears whole or not at all. How the file is sealed is decided in
`server/membership/sealed.py`.
"""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.federation import existing_federation, serving_lock
from server.membership.sealed import CHUNK_BYTES, Opening, Sealing, key_of, new_header, read_header
from shared.durable import locked, rename_durably, try_lock, wait_for_disk
from shared.errors import ConfigError, ResourceError, TrustError, naming_disk_full

_TRANSIENT = ("run", "proxy/tmp", "proxy/nginx.pid")


def back_up(folder: Path, file: Path, *, passphrases: tuple[str, str]) -> int:
    """Write a backup.

    Args:
        folder: the federation folder.
        file: the backup; it must not exist, nor lie in the folder.
        passphrases: of two people.

    Returns:
        The number of files in it.

    Raises:
        ConfigError: it is no federation folder, the file is there already, or the passphrases are the same.
        ResourceError: the federation is served, or the disk refused; no backup is left.
    """
    folder, file = existing_federation(folder).resolve(), file.resolve()
    if file.exists() or file.is_relative_to(folder):
        raise ConfigError(f"{file} exists, or lies in the federation's folder.", remedy="Name a new file elsewhere.")
    header = new_header()
    key = key_of(header, passphrases)
    with _unserved(folder), locked(folder), _part(file) as part:
        count = _write(folder, part, header, key)
        _read_back(part, key)
        rename_durably(part, file)
    return count


def restore(file: Path, folder: Path, *, passphrases: tuple[str, str]) -> int:
    """Make a federation folder from a backup.

    Args:
        file: the backup.
        folder: where; it must not exist, or be empty.
        passphrases: of the two people, in any order.

    Returns:
        The number of files restored.

    Raises:
        ConfigError: the folder is not empty, or the file cannot be read.
        TrustError: the passphrases are others, or the file is none of these, damaged or cut off; nothing is written.
        ResourceError: the disk refused; nothing is written.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists and is not empty.", remedy="Name a new folder for the federation.")
    if not file.is_file():
        raise ConfigError(f"There is no file {file}.", remedy="Name the backup.")
    with file.open("rb") as sealed, _naming_the_disk("restored"):
        key = key_of(read_header(sealed), passphrases)
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            count = _extract(Opening(sealed, key), building)
            existing_federation(building)
            rename_durably(building, folder)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return count


def _members(folder: Path) -> Iterator[Path]:
    """What belongs into a backup: folders before what is in them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        transient = any(name == one or name.startswith(f"{one}/") for one in _TRANSIENT)
        half = any(part.endswith(".part") for part in path.relative_to(folder).parts)
        if not transient and not half and not path.is_symlink() and (path.is_file() or path.is_dir()):
            yield path


def _write(folder: Path, part: Path, header: bytes, key: bytes) -> int:
    count = 0
    with part.open("wb") as file:
        file.write(header)
        sealing = Sealing(file, key)
        with tarfile.open(fileobj=sealing, mode="w|", bufsize=CHUNK_BYTES) as archive:  # type: ignore[call-overload]
            for path in _members(folder):
                archive.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False)
                count += path.is_file()
        sealing.finish()
        file.flush()
        wait_for_disk(file.fileno())
    return count


def _read_back(part: Path, key: bytes) -> None:
    with part.open("rb") as file:
        read_header(file)
        opening = Opening(file, key)
        while opening.read(CHUNK_BYTES):
            pass


def _extract(opening: Opening, building: Path) -> int:
    count = 0
    try:
        with tarfile.open(fileobj=opening, mode="r|", bufsize=CHUNK_BYTES) as archive:  # type: ignore[call-overload]
            for member in archive:
                archive.extract(member, building, filter="data")
                count += not member.isdir()
    except tarfile.TarError:
        raise TrustError("The backup holds no archive.", remedy="Take another copy.") from None
    while opening.read(CHUNK_BYTES):  # to its end, so that what is cut off is missed
        pass
    for path in building.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
        else:
            with path.open("rb") as file:
                wait_for_disk(file.fileno())
    return count


@contextmanager
def _part(file: Path) -> Iterator[Path]:
    """A file of mode 0600 to write to first, beside the one that is meant; gone unless it took its name."""
    with _naming_the_disk("written"):
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def _naming_the_disk(what: str) -> Iterator[None]:
    try:
        with naming_disk_full():
            yield
    except OSError as error:
        raise ResourceError(
            f"The backup cannot be {what} ({error.strerror}).", remedy="Name a place on a disk that you can write."
        ) from None


@contextmanager
def _unserved(folder: Path) -> Iterator[None]:
    """Hold the lock of who serves the federation."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    lock = try_lock(serving_lock(folder))
    if lock is None:
        raise ResourceError(
            "The federation is served; a backup now would not hold together.",
            remedy="Stop `federation serve`, take the backup, and start it again: studies go on where they were.",
        )
    with lock:
        yield
