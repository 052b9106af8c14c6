"""The live view of a study: what `study status` and `study watch` show while it runs."""

import os
import time
from typing import Any

from server.desk import Desk
from server.lateness import owed
from server.pulse import Pulse
from server.records import SiteHeld
from server.rounds import SETTLED, Phase, Round, Seat
from shared.address import Stage
from shared.clock import utc_now

DOING = {
    Phase.WAITING: "waiting",
    Phase.LOST: "waiting",
    Phase.ASKED: "working",
    Phase.READY: "waiting",
    Phase.GRANTED: "uploading",
    Phase.SPOOLED: "uploading",
    Phase.ADMITTED: "counted",
    Phase.REFUSED: "refused",
    Phase.REMOVED: "absent",
}


def live_view(desk: Desk, state: Round) -> dict[str, Any]:
    """Round, stage and seats as JSON values; ages are in seconds."""
    now, pulses = time.monotonic(), desk.link.pulses()
    history = desk.journal.history
    return {
        "study": desk.study.name,
        "round": min(state.number, history.trained.round if history.trained else desk.study.rounds.count),
        "rounds": desk.study.rounds.count,
        "stage": state.stage.value,
        "committed": history.last_round,
        "trained": history.trained.model_dump(mode="json") if history.trained else None,
        "chosen": history.chosen.model_dump(mode="json") if history.chosen else None,
        "epoch": desk.owner.epoch,
        "pid": os.getpid(),
        "closes_with": desk.study.rounds.buffer if state.stage is Stage.TRAIN else None,
        "sites": [
            seat_view(seat, pulses.get(seat.site), state.stage, now=now)
            | _held(history.held.get(seat.site))
            | {"late_since": min(owed(seat.site, history, desk.study.rounds), default=None)}
            for seat in state.seats.values()
        ],
        "sent_bytes": desk.sent_bytes,
        "closes_in_s": None if state.waits_for_yes(now) else round(state.closes_at - now, 1),
        "updated": utc_now(),
    }


def _held(said: SiteHeld | None) -> dict[str, Any]:
    """Why a site says "not yet", and since when (RFC 3339)."""
    return {"held": said.code.value if said else None, "held_since": said.since if said else None}


def seat_view(seat: Seat, pulse: Pulse | None, stage: Stage, *, now: float) -> dict[str, Any]:
    """One site in the round.

    `state` is online, silent (its heartbeats have stopped) or absent (it has not connected since the server
    was started), and `last_sign_s` the age of its last heartbeat. `doing` is what it does in the round.
    """
    state = "absent" if pulse is None else "online" if pulse.alive else "silent"
    doing = DOING[seat.phase]
    if seat.phase is Phase.ADMITTED and stage is not Stage.TRAIN:
        doing = "done"
    elif seat.phase not in SETTLED and state != "online":
        doing = state
    return {
        "site": seat.site,
        "phase": seat.phase.value,
        "doing": doing,
        "state": state,
        "online": state == "online",
        "last_sign_s": None if pulse is None else round(pulse.age_s, 1),
        "seconds": round(now - seat.since, 1),
        "cause": seat.cause,
    }
