"""Reads what is added to a log that another process writes; what a line means is decided by others.

A turn reads a bounded number of bytes, however much was written. A log that was replaced is read
from its start; one that ran far ahead is read from its last part.
"""

import os
from pathlib import Path

TURN_BYTES = 64 * 1024
BACKLOG_BYTES = 4 * 1024 * 1024


class Tail:
    """The lines that are added to a file.

    Args:
        path: the file; it need not be there yet.
        from_start: also those that stand in it now.
    """

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._rest = b""
        self._file, self._at = (0, 0) if from_start else self._standing()

    def lines(self) -> list[str]:
        """The whole lines since the last call, without their ends; a line longer than a turn is left out."""
        file, size = self._standing()
        if file != self._file or size < self._at:
            self._file, self._at, self._rest = file, 0, b""
        if size - self._at > BACKLOG_BYTES:
            self._at, self._rest = size - TURN_BYTES, b""
        if size == self._at:
            return []
        with self._path.open("rb") as log:
            log.seek(self._at)
            read = log.read(TURN_BYTES)
        self._at += len(read)
        *whole, self._rest = (self._rest + read).split(b"\n")
        if len(self._rest) > TURN_BYTES:
            self._rest = b""
        return [line.decode(errors="replace") for line in whole if len(line) <= TURN_BYTES]

    def _standing(self) -> tuple[int, int]:
        """The file's inode and size; zeros while there is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_size
