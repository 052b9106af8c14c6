"""The ledger file: a chain of entries that grows line by line and survives a crash.

Every append is on the disk when it returns, unless its caller leaves the wait to a later one or to
`Ledger.sync`. No process's death loses a line; a loss of power may lose those that nobody has waited for,
and in any order (POSIX orders no writes before an fsync). A last line that a crash
tore off is overwritten, when the file is opened again, by an entry of type ``cut`` that says how many
bytes were lost. One process writes at a time: whoever finds that the file grew behind its back stops.
What makes a chain sound is decided in `shared/chain.py`, what the entries mean by the callers.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.canonical import digest, parse_canonical
from shared.chain import CUT, HEAD, LONGEST_LINE, Entry, Tip, Verdict, timestamp, verify, without_newline
from shared.durable import fsync_folder, wait_for_disk
from shared.errors import DiskFull, ResourceError, StaleEpoch, TrustError

__all__ = [
    "Entry",
    "Ledger",
    "Verdict",
    "entry_of",
    "read_entries",
    "read_lines",
    "read_types",
    "read_whole_lines",
    "timestamp",
    "verify",
]


class Ledger:
    """A ledger open for appending; made by `Ledger.open`, closed by `close` or a ``with`` block."""

    def __init__(
        self, descriptor: int, *, key: Ed25519PrivateKey, signer: str, tip: Tip, size: int, hashes: bytearray
    ) -> None:
        self._descriptor = descriptor
        self._key = key
        self._signer = signer
        self._tip = tip
        self._size = size  # bytes of the file that belong to whole lines
        self._hashes = hashes  # of all entries, 32 bytes each: who asks for one should not read the file again
        self.began = tip.count  # number of entries when it was opened

    @classmethod
    def open(cls, path: Path, *, key: Ed25519PrivateKey, signer: str, now: str) -> Self:
        """Open a ledger file, or start one (mode 0600).

        Args:
            path: the file; its folder must exist.
            key: the writer's identity key, for heads.
            signer: the writer's name: a site's, or ``coordinator``.
            now: RFC 3339 UTC time, written only if a torn last line has to be cut off.

        Raises:
            TrustError: the lines that are there are no sound chain.
            ResourceError: the disk refused.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fsync_folder(path.parent)
        except OSError as error:
            raise _disk(error) from None
        try:
            with _exclusive(descriptor):
                hashes = bytearray()
                tip, size = _walk(path, hashes)
                ledger = cls(descriptor, key=key, signer=signer, tip=tip, size=size, hashes=hashes)
                if (torn := os.fstat(descriptor).st_size - size) > 0:
                    ledger._write(tip.next_line(CUT, {"bytes": torn}, time=now), torn=torn)
        except BaseException:
            os.close(descriptor)
            raise
        return ledger

    @property
    def head(self) -> str:
        """Hash of the last entry; 64 zeros before the first."""
        return self._tip.head

    @property
    def count(self) -> int:
        """Number of entries."""
        return self._tip.count

    def holds(self, n: int, digest: str) -> bool:
        """Whether entry `n`, from 1, is the one with this hash (hex)."""
        return 1 <= n <= self.count and self._hashes[32 * (n - 1) : 32 * n].hex() == digest

    def append(self, entry_type: str, data: Mapping[str, Any], *, time: str, wait: bool = True) -> Entry:
        """Write one entry; it is on the disk when this returns.

        Args:
            entry_type: what kind of entry, in a-z, 0-9 and _; ``head`` and ``cut`` are the ledger's own.
            data: what it says: JSON with finite numbers, and integers within 2^53.
            time: RFC 3339 UTC, as `timestamp` gives.
            wait: False leaves the wait for the disk to the next entry that waits; nothing may be done
                before that which the entry must precede.

        Raises:
            ValueError: an argument is not in its form, or too large.
            StaleEpoch: another process wrote to the ledger since it was opened.
            ResourceError: the disk refused (`DiskFull`: it has no room); the ledger is as it was.
        """
        if entry_type in (HEAD, CUT):
            raise ValueError(f"entries of type {entry_type} are written by the ledger itself")
        return self._append(self._tip.next_line(entry_type, data, time=time), wait=wait)

    def sign_head(self, *, time: str, wait: bool = True) -> Entry:
        """Sign the chain so far in an entry of its own; arguments and errors as `append`."""
        return self._append(self._tip.head_line(key=self._key, signer=self._signer, time=time), wait=wait)

    def sync(self) -> None:
        """Wait until every entry so far is on the disk.

        Raises:
            ResourceError: the disk refused.
        """
        try:
            wait_for_disk(self._descriptor)
        except OSError as error:
            raise _disk(error) from None

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _append(self, line: bytes, *, wait: bool) -> Entry:
        with _exclusive(self._descriptor):
            if os.fstat(self._descriptor).st_size != self._size:
                raise StaleEpoch(
                    "Another process wrote to this ledger since it was opened here.",
                    remedy="Let the other process go on; start this one again only after that one has ended.",
                )
            return self._write(line, wait=wait)

    def _write(self, line: bytes, *, wait: bool = True, torn: int = 0) -> Entry:
        try:
            entry, tip = self._tip.follow(line)
        except TrustError:  # whole floats above 2^53 have a canonical form, and could not be read again
            raise ValueError("the data of an entry must survive being written and read") from None
        data, end = memoryview(line + b"\n"), self._size + len(line) + 1
        try:
            while data:
                data = data[os.pwrite(self._descriptor, data, end - len(data)) :]
            if torn:  # it may reach further
                os.ftruncate(self._descriptor, end)
            if wait:
                wait_for_disk(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size + torn)
            raise _disk(error) from None
        self._tip, self._size = tip, end
        self._hashes += bytes.fromhex(entry.hash)
        return entry


def read_lines(path: Path, *, start: int = 0) -> Iterator[bytes]:
    """The lines of a ledger file from a byte on, with their newlines; one that is too long comes in pieces."""
    with path.open("rb") as file:
        file.seek(start)
        while line := file.readline(LONGEST_LINE):
            yield line


def read_whole_lines(path: Path, *, start: int = 0) -> Iterator[bytes]:
    """As `read_lines`, without a last line that is still being written or that a crash tore off."""
    for line in read_lines(path, start=start):
        if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            return
        yield line


def read_types(path: Path, types: Collection[str]) -> Iterator[Entry]:
    """The entries of some types in a ledger that `Ledger.open` has checked, or in none; other lines are not parsed."""
    for line in read_whole_lines(path) if path.exists() else ():
        if (entry := entry_of(line, types)) is not None:
            yield entry


def entry_of(line: bytes, types: Collection[str]) -> Entry | None:
    """The entry in a line, as `read_types` gives it; None if it is of another type."""
    if not any(mark in line for mark in map(_mark, types)):
        return None
    bare = without_newline(line)
    fields = parse_canonical(bare)
    return Entry(fields, digest(bare)) if fields["type"] in types else None


@cache
def _mark(entry_type: str) -> bytes:
    """What canonical JSON writes into every line of a type; a line of another type may quote it."""
    return f'"type":"{entry_type}"'.encode()


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a ledger, without checking heads; a last line still being written is left out.

    Raises:
        TrustError: a line does not follow the one before it; the message says which and why.
    """
    for entry, _, _ in _steps(path):
        yield entry


def _steps(path: Path) -> Iterator[tuple[Entry, Tip, int]]:
    tip, size = Tip(), 0
    for line in read_whole_lines(path):
        try:
            entry, tip = tip.follow(without_newline(line))
        except TrustError as error:
            raise TrustError(f"Line {tip.count + 1} of {path.name}: {error.what}", remedy=error.remedy) from None
        size += len(line)
        yield entry, tip, size


def _walk(path: Path, hashes: bytearray) -> tuple[Tip, int]:
    tip, size = Tip(), 0
    for entry, tip, size in _steps(path):  # noqa: B007 - where the last step ends is what is asked
        hashes += bytes.fromhex(entry.hash)
    return tip, size


@contextlib.contextmanager
def _exclusive(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _disk(error: OSError) -> ResourceError:
    kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else ResourceError
    return kind(
        f"The ledger could not be written ({error.strerror}).", remedy="Make room on its disk, or mend the disk."
    )
