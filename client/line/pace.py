"""How often the agent asks the server for messages: quickly after news, ever slower without."""

import random
from collections.abc import Callable

FIRST_S = 0.1
QUICK_POLLS = 20  # after news, before the wait grows: a round of small models is over within them
GROWTH = 1.5
BUSY_CAP_S = 1.0  # a study is open; at once while the worker trains: stop, revoke and supersede act within 2 s
IDLE_CAP_S = 5.0  # the next study begins within it
LONG_IDLE_CAP_S = 20.0
LONG_IDLE_S = 600.0
SPREAD = 0.25  # of each wait: sites that heard the same news do not ask in step for ever


class Pace:
    """When to poll next. Times are seconds on a monotonic clock.

    Args:
        chance: numbers in [0, 1), which shorten each wait by up to `SPREAD`.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._quiet_since: float | None = None
        self._wait = FIRST_S
        self._quick = 0
        self._next = 0.0

    def news(self) -> None:
        """Something happened, so more may follow at once."""
        self._wait = FIRST_S
        self._quick = QUICK_POLLS
        self._quiet_since = None
        self._next = 0.0

    def polled(self, now: float, *, busy: bool, working: bool = False) -> None:
        """An empty poll at `now`; wait longer for the next one.

        Args:
            now: the time.
            busy: a study is open here.
            working: the worker is on its task; what matters until then can wait `BUSY_CAP_S`.
        """
        if self._quiet_since is None:
            self._quiet_since = now
        if working:
            self._next = now + BUSY_CAP_S
            return
        self._next = now + self._wait * (1.0 - SPREAD * self._chance())
        if self._quick > 0:
            self._quick -= 1
            return
        self._wait = min(self._wait * GROWTH, BUSY_CAP_S if busy else self._idle_cap(now))

    def failed(self, until: float) -> None:
        """The line is down; try again at `until`."""
        self._wait = FIRST_S
        self._next = until

    def due_in(self, now: float) -> float:
        """Seconds until the next poll; 0 when it is due."""
        return max(0.0, self._next - now)

    def _idle_cap(self, now: float) -> float:
        long = self._quiet_since is not None and now - self._quiet_since > LONG_IDLE_S
        return LONG_IDLE_CAP_S if long else IDLE_CAP_S
