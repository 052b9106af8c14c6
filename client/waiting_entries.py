"""What commands did that the ledger does not say yet: entries that wait, line by line, for whoever may write it.

The ledger is its one writer's: while the agent runs, the agent writes them, when it starts or before its next piece of
work; else the command does so itself. An entry that a crash lets stand twice is one act; none is lost. What an entry
says is its command's matter.

1. A last line without its end is what a crash tore: its act never ended, and the next line takes its place.
2. Any other line whose `check` does not fit was damaged on the disk, or edited. It stops nothing: its bytes go to
   `waiting-entries.damaged`, for the auditor, and in its place the ledger has an entry `waiting_line_damaged`.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from client.receipts import LEDGER_FILE
from client.stopped import AgentRuns, stopped_ledger
from shared.canonical import canonical, digest
from shared.durable import fsync_folder, locked, wait_for_disk
from shared.errors import ConfigError, naming_disk_full
from shared.fields import Digest
from shared.ledger import Ledger, entry_of, read_whole_lines
from shared.section import Section

FILE_NAME = "waiting-entries.jsonl"
DAMAGED_FILE = "waiting-entries.damaged"
DAMAGED = "waiting_line_damaged"
_TAIL_BYTES = 1 << 20  # more than a line has


class Waiting(Section):
    """One: its type, and what it says."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    data: dict[str, Any]


class _Line(Waiting):
    """One in the file; `check` is the SHA-256 (hex) of the canonical JSON of the rest."""

    check: Digest


def keep_entry(folder: Path, kind: str, data: Mapping[str, Any]) -> None:
    """Let an entry wait for the ledger of the site in `folder`; on the disk when this returns.

    Raises:
        DiskFull: there is no room.
    """
    said = Waiting(type=kind, data=dict(data))
    line = canonical(said.model_dump() | {"check": _check(said)}) + b"\n"
    with locked(folder):
        _append(folder, FILE_NAME, line)


def note_entries(folder: Path, ledger: Ledger, *, time: str) -> None:
    """Write down in the ledger what waits, and set aside what is damaged.

    Raises:
        DiskFull: there is no room.
    """
    if not (folder / FILE_NAME).exists():
        return
    with locked(folder):
        lines = list(_whole_lines(folder))
        _set_aside(folder, [line for line in lines if _read(line).type == DAMAGED])
        for one in map(_read, lines):
            ledger.append(one.type, one.data, time=time)
        (folder / FILE_NAME).unlink()


def note_now(folder: Path, *, now: str) -> bool:
    """Whether the ledger says now what waited: it is the agent's while that runs, and is none before the site joins.

    Raises:
        ResourceError: the disk refused.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    with suppress(AgentRuns, ConfigError), stopped_ledger(folder, now=now) as ledger:
        note_entries(folder, ledger, time=now)
        ledger.sign_head(time=now)
    return not (folder / FILE_NAME).exists()


def damaged_lines(folder: Path) -> int:
    """How many lines were damaged: those set aside, as long as their file lies there, and those that still wait."""
    aside = folder / DAMAGED_FILE
    with locked(folder):
        waiting = sum(_read(line).type == DAMAGED for line in _whole_lines(folder))
        return waiting + (aside.read_bytes().count(b"\n") if aside.exists() else 0)


class SaidEntries:
    """What a site says of some types, read on from where it was read last.

    Args:
        folder: the site's.
        kinds: the types; those of lines that are damaged count as `DAMAGED`.
    """

    def __init__(self, folder: Path, kinds: Collection[str]) -> None:
        self._folder, self._kinds = folder, kinds
        self._ledger_bytes = self._waiting_bytes = 0  # read so far

    def newer(self) -> list[Waiting]:
        """What was said since, in its order; what moves from the file into the ledger is said once more."""
        with locked(self._folder):  # the agent moves none meanwhile
            before = self._ledger_bytes
            said = list(self._in_ledger())
            if self._ledger_bytes > before:  # perhaps by what waited
                self._waiting_bytes = 0
            return said + [one for one in self._in_file() if one.type in self._kinds]

    def _in_ledger(self) -> Iterator[Waiting]:
        path = self._folder / LEDGER_FILE
        for line in read_whole_lines(path, start=self._ledger_bytes) if path.exists() else ():
            self._ledger_bytes += len(line)
            if (entry := entry_of(line, self._kinds)) is not None:
                yield Waiting(type=entry.type, data=dict(entry.data))

    def _in_file(self) -> Iterator[Waiting]:
        path = self._folder / FILE_NAME
        if (path.stat().st_size if path.exists() else 0) < self._waiting_bytes:
            self._waiting_bytes = 0
        for line in _whole_lines(self._folder, start=self._waiting_bytes):
            self._waiting_bytes += len(line)
            yield _read(line)


def entries_said(folder: Path, kinds: Collection[str]) -> list[Waiting]:
    """The entries of some types, those that wait last."""
    return SaidEntries(folder, kinds).newer()


def _whole_lines(folder: Path, name: str = FILE_NAME, *, start: int = 0) -> Iterator[bytes]:
    path = folder / name
    if path.exists():
        with path.open("rb") as file:
            file.seek(start)
            yield from (line for line in file if line.endswith(b"\n"))


def _read(line: bytes) -> Waiting:
    """What a line says, or that it is damaged."""
    try:
        found = _Line.model_validate_json(line)
        said = Waiting(type=found.type, data=found.data)
        if found.check == _check(said):
            return said
    except ValueError:  # pydantic's is one
        pass
    return Waiting(type=DAMAGED, data={"bytes": len(line), "digest": digest(line)})


def _check(said: Waiting) -> str:
    return digest(canonical(said.model_dump()))


def _set_aside(folder: Path, lines: Collection[bytes]) -> None:
    """Keep damaged lines; those that were kept before a crash are not kept twice."""
    if not lines:
        return
    new = Counter(lines) - Counter(_whole_lines(folder, DAMAGED_FILE))
    _append(folder, DAMAGED_FILE, b"".join(new.elements()))


def _append(folder: Path, name: str, lines: bytes) -> None:
    """Let lines follow the whole ones of a file; on the disk when this returns."""
    with naming_disk_full():
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = _end_of_lines(descriptor)
            os.ftruncate(descriptor, end)
            with os.fdopen(descriptor, "r+b", closefd=False) as file:
                file.seek(end)
                file.write(lines)
            wait_for_disk(descriptor)
        finally:
            os.close(descriptor)
        fsync_folder(folder)


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends: a power cut may have torn one, whose act then never ended."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    return start + os.pread(descriptor, _TAIL_BYTES, start).rfind(b"\n") + 1
