"""The hours in which a site works on studies: `19:00-07:00` on every day, or `sat-sun 00:00-24:00` on some.

Hours are those of the site's own clock. What ends before it began goes on into the next day, and belongs to
the day on which it began.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY, _TIME = "|".join(_DAYS), r"(?:[01]\d|2[0-3]):[0-5]\d|24:00"
PATTERN = rf"^(?:(?:{_DAY})(?:-(?:{_DAY}))? )?(?:{_TIME})-(?:{_TIME})$"
Window = Annotated[str, Field(pattern=PATTERN)]


def within(hours: Sequence[str], at: datetime) -> bool:
    """Whether a local time lies in one of the windows; without windows every time does."""
    return not hours or any(_holds(window, at) for window in hours)


def _holds(window: str, at: datetime) -> bool:
    days, times = window.rpartition(" ")[::2]
    start, end = (_minutes(time) for time in times.split("-"))
    now, today = at.hour * 60 + at.minute, at.weekday()
    if start < end:
        return _falls(days, today) and start <= now < end
    return (_falls(days, today) and now >= start) or (_falls(days, (today - 1) % 7) and now < end)


def _falls(days: str, weekday: int) -> bool:
    if not days:
        return True
    first, *last = (_DAYS.index(day) for day in re.split("-", days))
    span = ((last[0] if last else first) - first) % 7
    return (weekday - first) % 7 <= span


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)
