"""Answers that say the same no again: a site that waits says so about once a minute, perhaps for days.

So it does to a coordinator that goes on naming a head which the site's ledger does not have.

Each is written down before it leaves, but not each in an entry of its own:

1. the first is a release like any other;
2. before further ones leave, an entry `release_again` says that up to `MOST` of them will;
3. when these have left, when something else leaves in the study, and when the agent stops, an entry
   `release_repeated` says how many did, and their bytes.

After a crash the third is missing, and an auditor knows the most. What says the same is a refusal of the same round
with the same code and rule: nothing in it follows from a site's data.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import NOT_YET, WireCode
from shared.ledger import Ledger
from shared.wire import Message, Refused

MOST = 60
_AGAIN = NOT_YET | {WireCode.FOREIGN_HEAD}
_Same = dict[str, object]


@dataclass
class _Run:
    same: _Same
    left: int = 0
    count: int = 0
    bytes: int = 0


class Repeats:
    """The runs of one site's door, one for each study that waits.

    Args:
        ledger: the site's.
        now: the time, RFC 3339 in UTC.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], str]) -> None:
        self._ledger, self._now = ledger, now
        self._runs: dict[str, _Run] = {}

    def cover(self, message: Message, size: int) -> bool:
        """Whether a message of so many bytes is written down as one more of its run; any other ends that run.

        Raises:
            DiskFull: it cannot be written down.
        """
        study, same = message.address.study, _same(message)
        run = self._runs.get(study)
        if run is not None and run.same != same:
            self._end(run)
            run = None
            del self._runs[study]
        if same is None:
            return False
        if run is None:
            self._runs[study] = _Run(same)
            return False
        if run.left == 0:
            self._end(run)
            self._ledger.append("release_again", {**same, "most": MOST}, time=self._now())
            run.left = MOST
        run.left, run.count, run.bytes = run.left - 1, run.count + 1, run.bytes + size
        return True

    def settle(self) -> None:
        """Write down how many have left of every run; raises as `cover`."""
        for run in self._runs.values():
            self._end(run)

    def _end(self, run: _Run) -> None:
        if run.count:
            said = {**run.same, "count": run.count, "bytes": run.bytes}
            self._ledger.append("release_repeated", said, time=self._now())
        run.left = run.count = run.bytes = 0


def _same(message: Message) -> _Same | None:
    """What stays the same in a run; None if the message is none of one."""
    if type(message) is not Refused or message.refusal not in _AGAIN:
        return None
    place = message.address
    said = {"study": place.study, "round": place.round, "stage": place.stage.value}
    return {**said, "refusal": message.refusal.value, "rule": message.rule}
