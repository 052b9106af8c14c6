"""A backup of a folder in one sealed file, and the folder made anew from it: all of it or nothing.

1. It is written beside its name, read back whole, and then gets its name.
2. A folder is made beside its name from what was authenticated, looked at by whoever knows what it must hold, and then
   gets its name. What is cut off or changed leaves nothing.

What belongs into a backup is decided in `server/membership/backup.py` and `client/site_backup.py`, how the file is
sealed in `shared/sealed.py`.
"""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.durable import rename_durably, wait_for_disk
from shared.errors import ConfigError, ResourceError, TrustError, naming_disk_full
from shared.sealed import CHUNK_BYTES, Kind, Opening, Sealing, key_of, new_header, read_header


def insist_on_new(file: Path, folder: Path, *, whose: str) -> None:
    """Raises `ConfigError` if a backup's file is there, or would lie in the folder itself."""
    if file.exists() or file.is_relative_to(folder):
        raise ConfigError(f"{file} exists, or lies in the {whose} folder.", remedy="Name a new file elsewhere.")


def write_backup(
    folder: Path, file: Path, members: Callable[[], Iterable[Path]], *, kind: Kind, passphrases: Sequence[str]
) -> int:
    """Write a backup; nothing in the folder may change meanwhile.

    Args:
        folder: what is backed up.
        file: the new file.
        members: what belongs into it, folders before what is in them.
        kind: of the file.
        passphrases: of those who together open it.

    Returns:
        The number of files in it.

    Raises:
        ConfigError: two passphrases are the same.
        ResourceError: the disk refused; no backup is left.
    """
    header = new_header(kind)
    key = key_of(header, passphrases)
    with _part(file) as part:
        count = _write(folder, part, header, key, members())
        _read_back(part, key, kind)
        rename_durably(part, file)
    return count


def make_folder(
    file: Path, folder: Path, *, kind: Kind, passphrases: Sequence[str], check: Callable[[Path], object], whose: str
) -> int:
    """Make a folder from a backup.

    Args:
        file: the backup.
        folder: where; it must not exist, or be empty.
        kind: of the file.
        passphrases: of those who open it, in any order.
        check: looks at the folder before it gets its name, and raises if it is not what it should be.
        whose: whose folder it is, for the words of an error.

    Returns:
        The number of files restored.

    Raises:
        ConfigError: the folder is not empty, or the file cannot be read.
        TrustError: the passphrases are others, or the file is none of these, damaged or cut off; nothing is written.
        ResourceError: the disk refused; nothing is written.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists and is not empty.", remedy=f"Name a new folder for the {whose}.")
    if not file.is_file():
        raise ConfigError(f"There is no file {file}.", remedy="Name the backup.")
    with file.open("rb") as sealed, _naming_the_disk("restored"):
        key = key_of(read_header(sealed, kind), passphrases)
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            count = _extract(Opening(sealed, key, kind), building)
            _checked(building, check)
            rename_durably(building, folder)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return count


def _checked(building: Path, check: Callable[[Path], object]) -> None:
    """What is wrong with the folder is wrong with the backup; the folder's own name is of no use to anybody."""
    try:
        check(building)
    except ConfigError as error:
        what = error.what.replace(str(building), "what is in it")
        raise TrustError(
            f"The backup cannot be used: {what}", remedy="Take another, or the version it names."
        ) from None


def _write(folder: Path, part: Path, header: bytes, key: bytes, members: Iterable[Path]) -> int:
    count = 0
    with part.open("wb") as file:
        file.write(header)
        sealing = Sealing(file, key)
        with tarfile.open(fileobj=sealing, mode="w|", bufsize=CHUNK_BYTES) as archive:  # type: ignore[call-overload]
            for path in members:
                archive.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False)
                count += path.is_file()
        sealing.finish()
        file.flush()
        wait_for_disk(file.fileno())
    return count


def _read_back(part: Path, key: bytes, kind: Kind) -> None:
    with part.open("rb") as file:
        read_header(file, kind)
        opening = Opening(file, key, kind)
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
