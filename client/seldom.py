"""Entries that whoever sends messages can cause at will: so many an hour, and of the rest how many there were.

A server that goes on naming a head that this ledger never had, or on sending what the coordinator did not sign, would
fill the site's disk with what the site writes down of it.

1. Of each type `MOST` entries an hour are written as they come.
2. Those beyond are counted. The next of that type that is written, or the last of them when the agent stops, says with
   `more` how many came before it unwritten.

After a crash that number is missing. What is refused is refused all the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.ledger import Ledger

MOST = 12
_SPAN = timedelta(hours=1)


@dataclass
class _Hour:
    since: datetime
    written: int = 0
    unwritten: int = 0
    last: Mapping[str, Any] | None = None


class Seldom:
    """What one site writes down seldom, while its process lives.

    Args:
        ledger: the site's.
        now: the time, RFC 3339 in UTC.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], str]) -> None:
        self._ledger, self._now = ledger, now
        self._hours: dict[str, _Hour] = {}  # by type of entry

    def append(self, entry_type: str, said: Mapping[str, Any]) -> bool:
        """Write an entry, or count it; whether it was written.

        Raises:
            DiskFull: it cannot be written; it is not counted either.
        """
        now = self._now()
        hour = self._hour(entry_type, datetime.fromisoformat(now))
        if hour.written >= MOST:
            hour.unwritten, hour.last = hour.unwritten + 1, said
            return False
        self._write(entry_type, said, hour, more=hour.unwritten, time=now)
        return True

    def settle(self) -> None:
        """Write down what is counted and not yet said; raises as `append`."""
        for entry_type, hour in self._hours.items():
            if hour.last is not None:
                self._write(entry_type, hour.last, hour, more=hour.unwritten - 1, time=self._now())

    def _hour(self, entry_type: str, now: datetime) -> _Hour:
        hour = self._hours.setdefault(entry_type, _Hour(now))
        if not timedelta() <= now - hour.since < _SPAN:  # a clock that was set back begins another, too
            hour.since, hour.written = now, 0
        return hour

    def _write(self, entry_type: str, said: Mapping[str, Any], hour: _Hour, *, more: int, time: str) -> None:
        self._ledger.append(entry_type, {**said, **({"more": more} if more else {})}, time=time)
        hour.written, hour.unwritten, hour.last = hour.written + 1, 0, None
