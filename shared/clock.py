"""The time as everything of ours writes it down."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


def utc_now(clock: Callable[[], float] = time.time) -> str:
    """The time as RFC 3339 in UTC, to the millisecond; `clock` gives Unix seconds."""
    return datetime.fromtimestamp(clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(unix_seconds: float) -> str:
    """A day as people read it: RFC 3339 in UTC, without the time."""
    return datetime.fromtimestamp(unix_seconds, UTC).date().isoformat()
