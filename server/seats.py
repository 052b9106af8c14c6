"""One site's seat in a round: how far it is, and when it may be asked again. What moves it, `server/rounds.py` says."""

from dataclasses import dataclass
from enum import StrEnum

from shared.wire import Ready


class Phase(StrEnum):
    """How far a site is in the round."""

    WAITING = "waiting"
    ASKED = "asked"
    READY = "ready"
    GRANTED = "granted"
    SPOOLED = "spooled"
    ADMITTED = "admitted"
    REFUSED = "refused"
    LOST = "lost"
    REMOVED = "removed"


SETTLED = frozenset({Phase.ADMITTED, Phase.REFUSED, Phase.REMOVED})
IN_HAND = frozenset({Phase.ASKED, Phase.READY, Phase.GRANTED, Phase.SPOOLED})

FREE_LOSSES = 3
LONGEST_WAIT_S = 30.0
LONGEST_HOLD_S = 60.0
DOUBLINGS = 10  # of a wait; far beyond the longest


@dataclass
class Seat:
    """One site in the round.

    `since` and `progress_at` are seconds on the conductor's clock; `share` is how much of its update is here, 0 to 1.
    `held` is why it said "not yet", until it answers in another way, and `gone_at` when its line broke since then.
    """

    site: str
    phase: Phase = Phase.WAITING
    attempt: int = 0
    holds_slot: bool = False
    since: float = 0.0
    progress_at: float = 0.0
    share: float = 0.0
    ready: Ready | None = None
    cause: str | None = None
    losses: int = 0
    held: str | None = None
    gone_at: float | None = None

    @property
    def ask_at(self) -> float:
        """When a lost site may be asked again: at once at first, then after ever longer waits."""
        if self.held and self.phase is Phase.LOST:
            return self.since + min(2.0 ** min(self.attempt, DOUBLINGS), LONGEST_HOLD_S)
        doublings = min(self.losses - FREE_LOSSES, DOUBLINGS)
        return self.since + (0.0 if doublings < 0 else min(2.0**doublings, LONGEST_WAIT_S))

    @property
    def why(self) -> str:
        """Why it does not count, as far as that is known."""
        said = self.held if self.gone_at is None else None
        return said or self.cause or self.phase.value

    def waits(self, now: float, *, patience_s: float) -> bool:
        """Whether its "not yet" stands: without an end, but for so long only once its line has broken."""
        return self.held is not None and (self.gone_at is None or now < self.gone_at + patience_s)

    def whole_by(self, now: float) -> float:
        """When the update that is on its way will be here, at the pace at which it came so far."""
        return self.since + (now - self.since) / self.share if self.share else float("inf")
