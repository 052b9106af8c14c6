"""What comes in over all lanes: kept on the shelf, counted, at the rate and in the hours that the site permits.

Decides when a pull ends early: outside the hours, when a lane could not go on, and where a PACS fails one instance
after another. Instances that do not come are counted by one word each.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from client.pacs.account import Account
from client.pacs.rate import Rate
from client.pacs.shelf import Shelf, Unfit
from shared.errors import LinkError, Refusal, WireCode

MOST_FAILURES = 100  # one after another
_MB = 1_000_000


class Ended(Exception):
    """Another lane ended the pull."""


class Inflow:
    """The one way to the shelf; several threads may use it.

    Args:
        shelf: where instances are kept.
        account: what is counted.
        in_hours: whether the site works now.
        mb_per_s: at most so many megabytes a second, or None.
        instances_per_s: at most so many instances a second, or None.
        kept: called after each that was kept.
        clock: seconds that never go back.
        wait: instead of a wait that the end cuts short, what waits so many seconds.
    """

    def __init__(
        self,
        shelf: Shelf,
        account: Account,
        *,
        in_hours: Callable[[], bool],
        mb_per_s: float | None = None,
        instances_per_s: float | None = None,
        kept: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._shelf = shelf
        self._account = account
        self._in_hours = in_hours
        self._kept = kept
        self._over = threading.Event()
        wait = wait or self._over.wait
        self._bytes = Rate(mb_per_s and mb_per_s * _MB, clock=clock, sleep=wait)
        self._instances = Rate(instances_per_s, clock=clock, sleep=wait)
        self._in_a_row = 0
        self._lock = threading.Lock()

    def end(self) -> None:
        """Let every lane end at its next turn."""
        self._over.set()

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._over.wait(seconds)
        if self._over.is_set():
            raise Ended

    def turn(self) -> None:
        """Wait until one more may come.

        Raises:
            Ended: the pull is over.
            Refusal: the site's hours are.
            LinkError: nothing but failures come.
        """
        self._instances.take(1)
        if self._over.is_set():
            raise Ended
        self.insist_on_hours()
        if self._in_a_row >= MOST_FAILURES:
            raise LinkError(
                f"{self._in_a_row} instances failed one after another.",
                remedy="Look at the reasons under `failed` and at the log of the PACS.",
            )

    def insist_on_hours(self) -> None:
        """Raise `Refusal` where the site's hours are over."""
        if not self._in_hours():
            raise Refusal(
                WireCode.OUT_OF_HOURS,
                remedy="What was pulled stays; give the same command again within policy.hours to go on.",
                rule="hours",
            )

    def take(self, instance: str, pieces: Iterable[bytes]) -> bool:
        """Keep one; whether it was kept.

        Raises:
            DiskFull: there is no room.
        """
        try:
            size = self._shelf.keep(instance, self._paced(pieces))
        except Unfit as error:
            self.fail(instance, error.reason)
            return False
        with self._lock:
            self._account.pulled += 1
            self._account.pulled_bytes += size
            self._in_a_row = 0
        self._kept()
        return True

    def fail(self, instance: str, reason: str) -> None:
        """Count one that did not come."""
        with self._lock:
            self._account.failed[instance] = reason
            self._in_a_row += 1

    def _paced(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes.take(len(piece))
            yield piece
