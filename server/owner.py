"""One owner per study: the epoch says who, a short lock makes the change of hands atomic.

A process claims a study by raising the epoch in `owner.json` under a lock on `owner.lock`. It never
holds the lock while it works, only around a commit, and looks at the epoch then: whoever finds a
higher one stops (the owner before it may have been paused, cut off, or simply slow). The kernel
gives the lock back when its holder dies, however it dies (flock(2)).

Whether a study should have an owner, and which process to start or end, is left to the supervisor.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, ValidationError

from shared.durable import write_atomically
from shared.errors import StaleEpoch, StudyError
from shared.section import Section

_RECORD, _LOCK = "owner.json", "owner.lock"
_POLL_S = 0.02


class Owner(Section):
    """Who owns a study. `started` is the process's start (seconds since 1970): a pid alone comes again."""

    epoch: Annotated[int, Field(ge=1, le=2**31)]
    pid: Annotated[int, Field(ge=1)]
    started: float

    def alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Ownership:
    """This process's claim on a study, good until somebody claims a higher epoch."""

    def __init__(self, folder: Path, owner: Owner, *, patience_s: float) -> None:
        self._folder = folder
        self._owner, self._written = owner, _bytes_of(owner)
        self._patience_s = patience_s

    @property
    def epoch(self) -> int:
        """The epoch that every message and journal entry carries."""
        return self._owner.epoch

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Nobody else can claim the study inside this block; it is short and does not nest.

        Raises:
            StaleEpoch: somebody claimed the study before; nothing may be committed any more.
            StudyError: another process does not give the lock back.
        """
        with _locked(self._folder, self._patience_s):
            self.check()
            yield

    def check(self) -> None:
        """Whether the study is still ours at this moment; only `guard` keeps it so.

        Raises:
            StaleEpoch: somebody claimed the study.
        """
        with contextlib.suppress(FileNotFoundError):
            if _holds(self._folder / _RECORD, self._written):
                return
        if read_owner(self._folder) != self._owner:
            raise StaleEpoch(
                f"Another process has taken over the study; epoch {self.epoch} is over.",
                remedy="Nothing needs to be done: the other process goes on with the study.",
            )


def claim(folder: Path, *, after: int = 0, patience_s: float = 30.0) -> Ownership:
    """Become the owner of a study, whoever owned it before.

    Args:
        folder: the study's folder.
        after: the highest epoch that the journal knows; the new one is above it even if
            `owner.json` was lost.
        patience_s: how long to wait for a commit of the present owner, here and in `Ownership.guard`.

    Raises:
        StudyError: another process does not give the lock back, or the owner's record is damaged.
    """
    process = psutil.Process()
    with _locked(folder, patience_s):
        before = read_owner(folder)
        epoch = max(before.epoch if before else 0, after) + 1
        owner = Owner(epoch=epoch, pid=process.pid, started=process.create_time())
        write_atomically(folder / _RECORD, _bytes_of(owner))
    return Ownership(folder, owner, patience_s=patience_s)


def read_owner(folder: Path) -> Owner | None:
    """The last owner of a study, alive or not; None before the first.

    Raises:
        StudyError: the record is damaged.
    """
    try:
        return Owner.model_validate_json((folder / _RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise StudyError(
            "The record of the study's owner (owner.json) is damaged.",
            remedy="Remove that file: the next epoch is taken from the journal.",
        ) from None


def _holds(path: Path, expected: bytes) -> bool:
    """Whether a file is these bytes; asked around every entry, so in three system calls."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, len(expected) + 1) == expected
    finally:
        os.close(descriptor)


def _bytes_of(owner: Owner) -> bytes:
    return owner.model_dump_json().encode()


@contextlib.contextmanager
def _locked(folder: Path, patience_s: float) -> Iterator[None]:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, patience_s)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, patience_s: float) -> None:
    give_up = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise StudyError(
                    "Another process holds the study in the middle of a commit and does not go on.",
                    remedy="End the process named in owner.json, then start again.",
                ) from None
            time.sleep(_POLL_S)
