"""What lies in a folder, to be held against what lies in another."""

from pathlib import Path


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """By name, mode and content."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes()) for path in found}
