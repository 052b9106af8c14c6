"""Backup and restore of a whole federation folder: keys, authority, roster, settings, studies with their journals.

Left out are the logs, what the next start makes anew (`run/`, the proxy's temporary files), and what is half written. A
backup is taken while nobody serves the federation, so that journals and models belong together. How it is written and
read is decided in `shared/backup_file.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from server.federation import existing_federation, unserved
from shared.backup_file import insist_on_new, make_folder, write_backup
from shared.durable import locked
from shared.sealed import FEDERATION

_TRANSIENT = ("run", "logs", "proxy/tmp", "proxy/nginx.pid")


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
    insist_on_new(file, folder, whose="federation's")
    with locked(folder), unserved(folder, "and a backup now would not hold together"):
        return write_backup(folder, file, lambda: _members(folder), kind=FEDERATION, passphrases=passphrases)


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
    return make_folder(
        file, folder, kind=FEDERATION, passphrases=passphrases, check=existing_federation, whose="federation"
    )


def _members(folder: Path) -> Iterator[Path]:
    """What belongs into a backup: folders before what is in them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        transient = any(name == one or name.startswith(f"{one}/") for one in _TRANSIENT)
        half = any(part.endswith(".part") for part in path.relative_to(folder).parts)
        if not transient and not half and not path.is_symlink() and (path.is_file() or path.is_dir()):
            yield path
