"""How many rehearsals a site answers: each tells a little of its images, and many of them would tell more.

They are counted in the site's own ledger, which has an entry for each before it is answered: so a restart
forgets none, and an auditor counts the same.
"""

from datetime import datetime, timedelta
from pathlib import Path

from shared.errors import Refusal, WireCode
from shared.ledger import read_types

MOST = 20  # more than a study's preparation takes, and too few to ask the codes of `images` study by study
WITHIN = timedelta(hours=24)


def refuse_beyond_limit(ledger: Path, *, now: str) -> None:
    """Let another rehearsal begin, or not.

    Args:
        ledger: the site's ledger file.
        now: RFC 3339, by the clock that the ledger's times are from.

    Raises:
        Refusal: `TOO_OFTEN`, as many as are answered within a day have begun.
    """
    times = (datetime.fromisoformat(entry.time) for entry in read_types(ledger, ("rehearsal",)))
    begun = sorted(at for at in times if at > datetime.fromisoformat(now) - WITHIN)
    if len(begun) >= MOST:
        again = (begun[-MOST] + WITHIN).isoformat(sep=" ", timespec="minutes")
        remedy = f"Ask the coordinator why there were {MOST} in 24 hours; the next is answered from {again} on."
        raise Refusal(WireCode.TOO_OFTEN, remedy=remedy)
