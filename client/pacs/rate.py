"""How fast images may come: so many units a second, over all lanes together."""

import threading
import time
from collections.abc import Callable


class Rate:
    """Lets what is taken wait until what was taken before is paid for.

    Args:
        per_s: units a second; None lets everything through.
        clock: seconds that never go back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        per_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._per_s = per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    def take(self, units: float) -> None:
        """Wait for the turn of these units; those after them wait for them."""
        if self._per_s is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(self._free_at, now)
            self._free_at = turn + units / self._per_s
        if turn > now:
            self._sleep(turn - now)
