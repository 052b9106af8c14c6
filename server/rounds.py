"""One round (or opening, or closing trip) as a pure state machine: no clock, no line, no disk.

Each cohort site has a seat that walks through

    waiting -> asked -> ready -> granted -> spooled -> admitted        (an update is wanted)
                  └-> lost (asked again when it is back)  └-> refused      └-> removed (from the roster)

A seat without an update to give goes from asked to admitted. The conductor tells the round what
happened, asks it what to do next (`asks`, `grants`), and when it is over (`closing`): when every seat is
settled, at the deadline, or `grace_s` after the quorum was complete. With a `buffer` it is over as soon as so
many sites counted, but an update that is on its way by then is let in first if it comes within `lease_s`. One that
the last round cut off is waited for longer, as long as its pace brings it before the deadline: else a slow line
would be cut in every round, and a trickle would hold each to its end. No slot is given any more then. Whoever does
not count is

    refused   it said no, or its update was refused;
    late      it was at work, or had announced its update;
    absent    it never answered, its line was lost, or it was removed.

Slots are bytes: the sum of the updates on their way never exceeds `slot_bytes` (one update may
always travel). A slot is granted in advance with the question to as many sites as fit, and is a
lease: when another site waits and the holder made no progress for `lease_s`, it is taken back.

A site may say "not yet", because a person there must agree first, or because of the hours there. Its seat is held:
asked again after ever longer waits, it holds up nobody once the quorum is there. Until then the round waits for
it, as long as that takes: no deadline makes a person answer. Where so many others have refused that there can be no
quorum any more, it waits for nobody's yes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.seats import IN_HAND, LONGEST_WAIT_S, SETTLED, Phase, Seat
from shared.address import Stage
from shared.wire import Ready

__all__ = ["IN_HAND", "LONGEST_WAIT_S", "SETTLED", "Ask", "Closing", "Phase", "Round", "Seat"]


@dataclass(frozen=True)
class Ask:
    """Send the question to a site; `slot_granted` pre-grants the upload."""

    site: str
    attempt: int
    slot_granted: bool


@dataclass(frozen=True)
class Closing:
    """The round is over: who counted, for each other site why it did not, and whether that is enough."""

    counted: tuple[str, ...]
    late: dict[str, str]
    refused: dict[str, str]
    absent: dict[str, str]
    enough: bool

    @property
    def missing(self) -> dict[str, str]:
        """Everybody who did not count, with the cause."""
        return dict(sorted((self.late | self.refused | self.absent).items()))

    @property
    def asked(self) -> frozenset[str]:
        """All of them."""
        return frozenset(self.counted) | self.missing.keys()

    @property
    def told(self) -> str:
        """The same in a line."""
        said = (f"{site} ({'refused: ' * (site in self.refused)}{cause})" for site, cause in self.missing.items())
        return ", ".join(said) or "nobody"


class Round:
    """The seats of one stage of a study.

    Args:
        stage: open, train, validate, evaluate or close.
        number: 0 for open, then from 1.
        cohort: the sites asked.
        quorum: how many must count.
        opened_at, deadline_s: seconds; the round closes at their sum if the quorum is reached.
        update_bytes: size of one update; 0 when none is wanted.
        slot_bytes: how many bytes of updates may be on their way at once.
        lease_s: how long a granted slot may stand still while others wait.
        absence_s: how long sites that are not connected hold up the rest, once the quorum is
            there; None means until the deadline.
        grace_s: how long everybody else is waited for once the quorum is there; None means until the deadline.
        buffer: how many must count for the round to close at once; None closes none so.
        slots_for: who may get a slot with the question, the first first; None is everybody, by name. The
            others wait for theirs when they are ready: a site that is at work for long would hold it idle.
        cut_off: whose upload the round before did not wait for.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        number: int,
        cohort: Iterable[str],
        quorum: int,
        opened_at: float,
        deadline_s: float,
        update_bytes: int = 0,
        slot_bytes: int = 0,
        lease_s: float = 30.0,
        absence_s: float | None = None,
        grace_s: float | None = None,
        buffer: int | None = None,
        slots_for: Iterable[str] | None = None,
        cut_off: Iterable[str] = (),
    ) -> None:
        self.stage = stage
        self.number = number
        self.seats = {site: Seat(site, since=opened_at) for site in sorted(cohort)}
        self.deadline_at, self._deadline_s = opened_at + deadline_s, deadline_s
        self._absent_at = self.deadline_at if absence_s is None else min(opened_at + absence_s, self.deadline_at)
        self._grace_s = grace_s
        self._buffer = buffer
        self._slots_for = tuple(self.seats if slots_for is None else slots_for)
        self._cut_off = frozenset(cut_off)
        self._quorum = quorum
        self._update_bytes = update_bytes
        self._slot_bytes = slot_bytes
        self._lease_s = lease_s

    # ------------------------------------------------------------ what to do next

    def asks(self, online: Iterable[str], *, now: float, spooled: Iterable[str] = ()) -> list[Ask]:
        """Sites to ask now: those waiting or lost that are online.

        Args:
            online: sites that the engine sees.
            now: the time.
            spooled: sites whose update of this round the server already holds; they need no slot.
        """
        present, held, asks = set(online), set(spooled), []
        if not present:  # asked at every turn, mostly when nobody waits
            return []
        first = {site: place for place, site in enumerate(self._slots_for)}
        for seat in sorted(self.seats.values(), key=lambda s: first.get(s.site, len(first))):
            if seat.phase not in (Phase.WAITING, Phase.LOST) or seat.site not in present or now < seat.ask_at:
                continue
            seat.attempt += 1
            needs = self._update_bytes > 0 and seat.site not in held and seat.site in first and not self._is_full(now)
            seat.holds_slot = needs and self._has_room()
            self._move(seat, Phase.ASKED, now)
            asks.append(Ask(seat.site, seat.attempt, seat.holds_slot))
        return asks

    @property
    def unasked(self) -> bool:
        """Whether a site waits for a question, and whether it is online would matter."""
        return any(seat.phase in (Phase.WAITING, Phase.LOST) for seat in self.seats.values())

    @property
    def in_hand(self) -> bool:
        """Whether a site is at work, or what it made is on its way."""
        return any(seat.phase in IN_HAND and not seat.held for seat in self.seats.values())

    def grants(self, *, now: float) -> list[str]:
        """Sites that may upload now, the longest ready first; they hold a slot from here on.

        A full buffer grants nothing: each update that came so would hold the round open for the next.
        """
        if self._is_full(now):
            return []
        waiting = sorted((s for s in self.seats.values() if s.phase is Phase.READY), key=lambda s: s.since)
        if waiting:
            self._take_back_idle_slots(now)
        granted = []
        for seat in waiting:
            if not self._has_room():
                break
            seat.holds_slot = True
            self._move(seat, Phase.GRANTED, now)
            granted.append(seat.site)
        return granted

    def closing(self, now: float) -> Closing | None:
        """The round's end, when all seats are settled or its time is over; None before."""
        counted, closes_at = self._counted(), self.closes_at
        enough = len(counted) >= self._quorum
        if any(self._holds_up(seat, now, closes_at, enough=enough) for seat in self.seats.values()):
            return None
        causes: dict[str, dict[str, str]] = {"late": {}, "refused": {}, "absent": {}}
        for seat in self.seats.values():
            if seat.phase is not Phase.ADMITTED:
                causes[_kind(seat)][seat.site] = seat.why
        return Closing(tuple(seat.site for seat in counted), **causes, enough=enough)

    @property
    def closes_at(self) -> float:
        """When the round closes at the latest, as things stand, but for an update that is being examined."""
        needed, grace_s = (self._quorum, self._grace_s) if self._buffer is None else (self._buffer, 0.0)
        if grace_s is None:
            return self.deadline_at
        times = sorted(seat.since for seat in self._counted())
        if not 0 < needed <= len(times):
            return self.deadline_at
        return min(times[needed - 1] + grace_s, self.deadline_at)

    def waits_for_yes(self, now: float) -> bool:
        """Whether it is a site's yes, beyond the deadline, that the round waits for."""
        return any(self._awaited(seat, now) for seat in self.seats.values() if seat.phase not in SETTLED)

    def _counted(self) -> list[Seat]:
        return [seat for seat in self.seats.values() if seat.phase is Phase.ADMITTED]

    def _holds_up(self, seat: Seat, now: float, closes_at: float, *, enough: bool) -> bool:
        if seat.phase in SETTLED:
            return False
        if seat.held:
            return self._awaited(seat, now)
        if seat.phase is Phase.SPOOLED or self._arrives(seat, now):
            return True
        absent = enough and seat.phase in (Phase.WAITING, Phase.LOST)
        return now < (min(self._absent_at, closes_at) if absent else closes_at)

    def _awaited(self, seat: Seat, now: float) -> bool:
        """Whether the round waits for the site's yes: without it there is no quorum, and with it there may be one."""
        lacking = self._quorum - len(self._counted())
        able = sum(seat.phase not in SETTLED for seat in self.seats.values())
        return 0 < lacking <= able and seat.waits(now, patience_s=self._deadline_s)

    def _is_full(self, now: float) -> bool:
        return self._buffer is not None and now >= self.closes_at

    def _arrives(self, seat: Seat, now: float) -> bool:
        """Whether a full buffer lets this update in, too."""
        moves = seat.phase is Phase.GRANTED and now - max(seat.progress_at, seat.since) <= self._lease_s
        if self._buffer is None or not moves or now >= self.deadline_at:
            return False
        again = seat.site in self._cut_off and seat.whole_by(now) <= self.deadline_at
        return again or now < self.closes_at + self._lease_s

    # ------------------------------------------------------------ what happened

    def ready(self, site: str, report: Ready, *, now: float) -> None:
        """The site reports its work; its update travels along, or waits for a slot, or is not wanted."""
        seat = self.seats[site]
        seat.ready = report
        if report.update_digest is None:
            self._move(seat, Phase.ADMITTED, now)
        else:
            seat.holds_slot = seat.holds_slot or report.uploaded
            self._move(seat, Phase.GRANTED if report.uploaded else Phase.READY, now)
            if not report.uploaded:
                seat.holds_slot = False

    def progress(self, site: str, *, share: float, now: float) -> None:
        """Bytes of the site's update arrived; `share` of it is here."""
        self.seats[site].progress_at, self.seats[site].share = now, share

    def spooled(self, site: str, *, now: float) -> None:
        """The whole update is on the server's disk."""
        self._free(self.seats[site], Phase.SPOOLED, now)

    def admitted(self, site: str, *, now: float) -> None:
        """The update (or the answer) counts."""
        self._free(self.seats[site], Phase.ADMITTED, now)

    def refused(self, site: str, cause: str, *, now: float) -> None:
        """The site said no, or its update was refused; it is not asked again in this round."""
        self.seats[site].cause = cause
        self._free(self.seats[site], Phase.REFUSED, now)

    def removed(self, site: str, *, now: float) -> None:
        """The site is no longer on the roster."""
        seat = self.seats[site]
        seat.cause = None
        self._free(seat, Phase.REMOVED, now)

    def lost(self, site: str, cause: str, *, now: float) -> None:
        """The line to the site is gone; it is asked again when it is back before the deadline.

        A site that had said "not yet" is awaited for a whole deadline from then: it may have died while it opened.
        """
        seat = self.seats[site]
        if seat.phase not in SETTLED:
            seat.cause = cause
            seat.losses += 1
            if seat.held and seat.gone_at is None:
                seat.gone_at = now
            self._free(seat, Phase.LOST, now)

    def held(self, site: str, cause: str, *, now: float) -> None:
        """The site says "not yet"; it is asked again in a while."""
        seat = self.seats[site]
        seat.held, seat.gone_at = cause, None
        self._free(seat, Phase.LOST, now)

    def holds(self, causes: Mapping[str, str]) -> None:
        """These sites said "not yet" when they were asked last, by site with the cause."""
        for site in causes.keys() & self.seats.keys():
            self.seats[site].held = causes[site]

    def agreed(self, site: str) -> None:
        """The site has agreed to the study: it is awaited like every other."""
        self.seats[site].held = None

    # ------------------------------------------------------------ slots

    def _has_room(self) -> bool:
        held = sum(self._update_bytes for s in self.seats.values() if s.holds_slot)
        return held == 0 or held + self._update_bytes <= self._slot_bytes

    def _take_back_idle_slots(self, now: float) -> None:
        """Leases end without progress. A holder that uploads all the same is still received."""
        for seat in self.seats.values():
            if seat.holds_slot and now - max(seat.progress_at, seat.since) > self._lease_s:
                seat.holds_slot = False
                if seat.phase is Phase.GRANTED:
                    self._move(seat, Phase.READY, now)

    def _free(self, seat: Seat, phase: Phase, now: float) -> None:
        seat.holds_slot = False
        self._move(seat, phase, now)

    @staticmethod
    def _move(seat: Seat, phase: Phase, now: float) -> None:
        seat.phase = phase
        seat.since, seat.progress_at, seat.share = now, now, 0.0
        if phase in (Phase.ASKED, Phase.ADMITTED):
            seat.cause = None
        if phase in SETTLED:
            seat.held = None


def _kind(seat: Seat) -> str:
    """The word for a seat that did not count; whoever announced an update is late, even if its line broke then."""
    if seat.phase is Phase.REFUSED:
        return "refused"
    if seat.held:
        return "absent"
    announced = seat.phase is Phase.LOST and seat.ready is not None
    return "late" if announced or seat.phase in IN_HAND else "absent"
