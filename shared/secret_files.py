"""Which files of a folder other accounts of the machine may read, though they hold secrets."""

import stat
from collections.abc import Iterable
from pathlib import Path

from shared.preflight import Finding, fix


def exposed(files: Iterable[Path]) -> list[tuple[Path, int]]:
    """Those of the files that are there and open to anybody but their owner, with their modes; links are followed."""
    found = ((file, stat.S_IMODE(file.stat().st_mode)) for file in files if file.exists())
    return [(file, mode) for file, mode in found if mode & 0o077]


def look_at_secrets(folder: Path, names: Iterable[str], *, otherwise: str) -> Finding | None:
    """What a check says of a folder's secrets that are open; None if none is.

    Args:
        folder: whose they are.
        names: paths in it.
        otherwise: what to do if others do use this machine.
    """
    found = exposed(folder / name for name in names)
    if not found:
        return None
    named = ", ".join(f"{path.relative_to(folder)} ({mode:04o})" for path, mode in found)
    return fix(
        f"Other accounts of this machine may use {named}.",
        f"Run `{closing(found)}`; if others do use this machine, {otherwise}.",
    )


def closing(found: Iterable[tuple[Path, int]]) -> str:
    """The commands that close them."""
    by_mode: dict[str, list[str]] = {}
    for file, _ in found:
        by_mode.setdefault("700" if file.is_dir() else "600", []).append(str(file))
    return "; ".join(f"chmod {mode} {' '.join(files)}" for mode, files in by_mode.items())
