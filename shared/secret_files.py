"""Which files of a folder other accounts of the machine may read, though they hold secrets."""

import stat
from collections.abc import Iterable
from pathlib import Path


def exposed(files: Iterable[Path]) -> list[tuple[Path, int]]:
    """Those of the files that are there and open to anybody but their owner, with their modes; links are followed."""
    found = ((file, stat.S_IMODE(file.stat().st_mode)) for file in files if file.exists())
    return [(file, mode) for file, mode in found if mode & 0o077]


def closing(found: Iterable[tuple[Path, int]]) -> str:
    """The commands that close them."""
    by_mode: dict[str, list[str]] = {}
    for file, _ in found:
        by_mode.setdefault("700" if file.is_dir() else "600", []).append(str(file))
    return "; ".join(f"chmod {mode} {' '.join(files)}" for mode, files in by_mode.items())
