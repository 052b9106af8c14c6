"""Reads the anonymous memory of processes at short intervals: what they hold for themselves.

RssAnon of /proc/PID/status (proc(5), Linux) leaves out the pages of files, which the kernel takes back
when it likes; updates and models that lie on disk are read through such pages.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

INTERVAL_S = 0.05
METHOD = f"RssAnon of /proc/PID/status, read every {1000 * INTERVAL_S:.0f} ms"
_RSS_ANON = re.compile(rb"^RssAnon:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """Bytes of one process at a time (Unix seconds)."""

    name: str
    at: float
    bytes: int


class Gauge:
    """Reads in a thread while its ``with`` block runs.

    Args:
        find: the processes to read, by name; asked again whenever one of them is gone or not there yet.
        proc: where the kernel shows its processes.
    """

    def __init__(self, find: Callable[[], Mapping[str, int]], *, proc: Path = Path("/proc")) -> None:
        self.readings: list[Reading] = []
        self._find, self._proc = find, proc
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="gauge")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def peak(self, name: str, *, after: float = 0.0, before: float = float("inf")) -> int:
        """The most bytes of one process between two times; 0 if it was not read then."""
        return max((r.bytes for r in self.readings if r.name == name and after <= r.at <= before), default=0)

    def last(self, name: str, *, before: float) -> int:
        """The last reading of one process before a time; 0 if there is none."""
        return next((r.bytes for r in reversed(self.readings) if r.name == name and r.at <= before), 0)

    def _read_all(self) -> None:
        known: dict[str, int] = {}
        asked_at = 0.0
        while not self._stopping.wait(INTERVAL_S):
            now = time.time()
            found = {name: size for name, pid in known.items() if (size := rss_anon(pid, proc=self._proc)) is not None}
            self.readings += [Reading(name, now, size) for name, size in found.items()]
            if now - asked_at >= 10 * INTERVAL_S:
                known, asked_at = dict(self._find()), now


def rss_anon(pid: int, *, proc: Path = Path("/proc")) -> int | None:
    """Bytes of anonymous memory that a process holds in RAM; None if it is gone."""
    try:
        match = _RSS_ANON.search((proc / str(pid) / "status").read_bytes())
    except OSError:
        return None
    return 1024 * int(match[1]) if match else None
