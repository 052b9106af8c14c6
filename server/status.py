"""The live view of a study: what `study status` and `study watch` show while it runs."""

import os
import time
from typing import Any

from server.desk import Desk, utc_now
from server.rounds import Round


def live_view(desk: Desk, state: Round) -> dict[str, Any]:
    """Round, stage and seats as JSON values; ages are in seconds."""
    now, online = time.monotonic(), desk.link.online()
    history = desk.journal.history
    return {
        "study": desk.study.name,
        "round": min(state.number, desk.study.rounds.count),
        "rounds": desk.study.rounds.count,
        "stage": state.stage.value,
        "committed": history.last_round,
        "epoch": desk.owner.epoch,
        "pid": os.getpid(),
        "sites": [
            {
                "site": seat.site,
                "phase": seat.phase.value,
                "online": seat.site in online,
                "seconds": round(now - seat.since, 1),
                "cause": seat.cause,
            }
            for seat in state.seats.values()
        ],
        "sent_bytes": desk.sent_bytes,
        "closes_in_s": round(state.closes_at - now, 1),
        "updated": utc_now(),
    }
