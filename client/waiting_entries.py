"""What commands did that the ledger does not say yet: entries that wait, line by line, for whoever may write it.

The ledger is its one writer's: while the agent runs, the agent writes them, when it starts or before its next piece of
work; else the command does so itself. An entry that a crash lets stand twice is one act; none is lost. A damaged file
stops no study: it waits for the next command that has something to say. What an entry says is its command's matter.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from client.receipts import LEDGER_FILE
from client.stopped import AgentRuns, stopped_ledger
from shared.durable import fsync_folder, locked, wait_for_disk
from shared.errors import ConfigError, TrustError, naming_disk_full
from shared.ledger import Ledger, read_types
from shared.section import Section

FILE_NAME = "waiting-entries.jsonl"
_TAIL_BYTES = 1 << 20  # more than a line has


class Waiting(Section):
    """One: its type, and what it says."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    data: dict[str, Any]


def keep_entry(folder: Path, kind: str, data: Mapping[str, Any]) -> None:
    """Let an entry wait for the ledger of the site in `folder`; on the disk when this returns.

    Raises:
        DiskFull: there is no room.
    """
    line = Waiting(type=kind, data=dict(data)).model_dump_json().encode() + b"\n"
    with locked(folder), naming_disk_full():
        descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = _end_of_lines(descriptor)
            os.ftruncate(descriptor, end)
            os.pwrite(descriptor, line, end)
            wait_for_disk(descriptor)
        finally:
            os.close(descriptor)
        fsync_folder(folder)


def note_entries(folder: Path, ledger: Ledger, *, time: str) -> None:
    """Write down in the ledger what waits.

    Raises:
        DiskFull: there is no room.
    """
    if not (folder / FILE_NAME).exists():
        return
    with locked(folder), suppress(TrustError):
        for one in _waiting(folder):
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


def entries_said(folder: Path, kinds: Collection[str]) -> list[Waiting]:
    """The entries of some types, those that wait last; an agent moves none of them meanwhile.

    Raises:
        TrustError: what waits is damaged.
    """
    with locked(folder):
        said = [Waiting(type=entry.type, data=dict(entry.data)) for entry in read_types(folder / LEDGER_FILE, kinds)]
        return said + [one for one in _waiting(folder) if one.type in kinds]


def _waiting(folder: Path) -> list[Waiting]:
    path = folder / FILE_NAME
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [Waiting.model_validate_json(line) for line in lines if line.endswith(b"\n")]
    except ValidationError:
        raise TrustError(
            f"{FILE_NAME} is damaged.", remedy="Restore it from your backup; it says what the ledger has yet to say."
        ) from None


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends: a power cut may have torn one, whose act then never ended."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    return start + os.pread(descriptor, _TAIL_BYTES, start).rfind(b"\n") + 1
