"""What the drill reads while a study runs: the study's journal, and what a site says of itself."""

import json
from pathlib import Path
from typing import Any


class Journal:
    """The journal of one study, as it lies at the server now.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """What the entries of one type say, oldest first; a line that is being written is left out."""
        if not self._path.is_file():
            return []
        whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        entries = (json.loads(line) for line in whole.splitlines() if line)
        return [entry["data"] for entry in entries if entry.get("type") == kind]

    def rounds(self) -> list[set[str]]:
        """Of each committed round, the sites that counted in it."""
        return [set(entry["counted"]) for entry in self.entries("round_committed")]

    def in_order(self) -> bool:
        """Whether each round was committed once, one after the other."""
        numbers = [entry["round"] for entry in self.entries("round_committed")]
        return numbers == list(range(1, len(numbers) + 1))


def site_state(folder: Path) -> str:
    """What a site's agent says that it does."""
    try:
        return str(json.loads((folder / "status.json").read_bytes())["state"])
    except (OSError, ValueError):
        return "not started"
