"""Updates on their way: each is written to the spool as its chunks arrive, none holds up another."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from server.arrival import Arrival, Lost
from server.link import ServerLink
from server.spool import SpoolWriter, UpdateSpool
from shared.errors import TrustError
from shared.wire import Ready

TURN_CHUNKS = 8  # chunks taken from one delivery before the next has its turn


@dataclass
class Delivery:
    """One update on its way; `arrived` bytes of it are here, the last at `progress_at` on the conductor's clock."""

    site: str
    ready: Ready
    chunks: Iterator[bytes]
    arrival: Arrival
    writer: SpoolWriter
    progress_at: float
    arrived: int = 0


class Outcome(StrEnum):
    """What became of a delivery in one turn."""

    WAITING = "waiting"
    ADVANCED = "advanced"
    SPOOLED = "spooled"
    LOST = "lost"  # broken off or at a standstill; the site is asked again
    WRONG = "wrong"  # other bytes than announced


class Deliveries:
    """All updates on their way in one round.

    Args:
        link: where they come from.
        spool: where they go.
        patience_s: how long a delivery may stand still.
    """

    def __init__(self, link: ServerLink, spool: UpdateSpool, *, patience_s: float) -> None:
        self._link = link
        self._spool = spool
        self._patience_s = patience_s
        self._open: dict[str, Delivery] = {}

    def __len__(self) -> int:
        return len(self._open)

    def start(self, site: str, ready: Ready, arrival: Arrival, *, now: float) -> None:
        """Begin to receive the update that an arrival carries; an older delivery of the site ends.

        Raises:
            ResourceError: the disk refused.
        """
        self.abort(site)
        size = ready.update_bytes
        writer = self._spool.writer(ready.address.round, site, size=size)
        self._open[site] = Delivery(site, ready, self._link.fetch(arrival, limit=size), arrival, writer, now)

    def turn(self, now: float) -> dict[str, Outcome]:
        """Take what has arrived, a few chunks of each delivery; by site, what became of it."""
        outcomes = {}
        for delivery in list(self._open.values()):
            outcomes[delivery.site] = outcome = self._advance(delivery, now)
            if outcome in (Outcome.LOST, Outcome.WRONG):
                self.abort(delivery.site)
            elif outcome is Outcome.SPOOLED:
                del self._open[delivery.site]
        return outcomes

    def share(self, site: str) -> float:
        """How much of a site's update is here, from 0 to 1."""
        delivery = self._open[site]
        return delivery.arrived / delivery.ready.update_bytes

    def abort(self, site: str) -> None:
        """Stop receiving from a site; what came so far is thrown away."""
        delivery = self._open.pop(site, None)
        if delivery is not None:
            delivery.writer.abort()
            self._link.drop(delivery.arrival)

    def abort_all(self) -> None:
        """Stop receiving; the round is over."""
        for site in list(self._open):
            self.abort(site)

    def _advance(self, delivery: Delivery, now: float) -> Outcome:
        taken = 0
        try:
            for chunk in islice(delivery.chunks, TURN_CHUNKS):
                if not chunk:
                    break
                delivery.writer.write(chunk)
                delivery.arrived += len(chunk)
                taken += 1
            else:
                if taken < TURN_CHUNKS:
                    assert delivery.ready.update_digest is not None
                    delivery.writer.commit(delivery.ready.update_digest)
                    return Outcome.SPOOLED
        except TrustError:
            return Outcome.WRONG
        except Lost:
            return Outcome.LOST
        if taken:
            delivery.progress_at = now
            return Outcome.ADVANCED
        return Outcome.LOST if now - delivery.progress_at > self._patience_s else Outcome.WAITING
