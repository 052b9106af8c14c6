"""How often the agent asks the server for messages: quickly after news, ever slower without."""

FIRST_S = 0.1
QUICK_POLLS = 20  # after news, before the wait grows: a round of small models is over within them
GROWTH = 1.5
BUSY_CAP_S = 1.0  # a study is open, or the worker trains: stop, revoke and supersede act within 2 s
IDLE_CAP_S = 20.0


class Pace:
    """When to poll next. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._wait = FIRST_S
        self._quick = 0
        self._next = 0.0

    def news(self) -> None:
        """Something happened, so more may follow at once."""
        self._wait = FIRST_S
        self._quick = QUICK_POLLS
        self._next = 0.0

    def polled(self, now: float, *, busy: bool) -> None:
        """An empty poll at `now`; wait longer for the next one."""
        self._next = now + self._wait
        if self._quick > 0:
            self._quick -= 1
            return
        self._wait = min(self._wait * GROWTH, BUSY_CAP_S if busy else IDLE_CAP_S)

    def failed(self, until: float) -> None:
        """The line is down; try again at `until`."""
        self._wait = FIRST_S
        self._next = until

    def due_in(self, now: float) -> float:
        """Seconds until the next poll; 0 when it is due."""
        return max(0.0, self._next - now)
