"""The serial numbers of certificates: those a site was given, and those that are void because it was cut off.

admissions/SITE.serials   revoked.serials    one number a line
"""

from collections.abc import Iterable
from pathlib import Path

from shared.durable import write_atomically


def note_issued(folder: Path, site: str, serial: int) -> None:
    """A certificate is going to be given to a site."""
    _add(_issued_path(folder, site), [serial])


def revoke_serials(folder: Path, site: str) -> None:
    """Whatever certificate the site was given is void."""
    _add(_revoked_path(folder), _read(_issued_path(folder, site)))
    _issued_path(folder, site).unlink(missing_ok=True)


def revoked_serials(folder: Path) -> tuple[int, ...]:
    """All that are void, in order."""
    return tuple(sorted(_read(_revoked_path(folder))))


def _add(path: Path, serials: Iterable[int]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    found = _read(path) | set(serials)
    write_atomically(path, "".join(f"{serial}\n" for serial in sorted(found)).encode())


def _read(path: Path) -> set[int]:
    return {int(line) for line in path.read_text().split()} if path.is_file() else set()


def _issued_path(folder: Path, site: str) -> Path:
    return folder / "admissions" / f"{site}.serials"


def _revoked_path(folder: Path) -> Path:
    return folder / "revoked.serials"
