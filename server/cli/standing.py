"""Where a study stands, as a program and as a person read it, and why it does not move.

A server that was killed leaves a state and a live view behind that say it runs. So both are believed
only while the view is fresh or somebody holds the lock of `federation serve`.
"""

import fcntl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from server.cli.arguments import typed
from server.study_folder import StudyFolder, StudyState
from shared.console import facts, table

QUIET_S = 10.0  # a live view is replaced every few seconds, and a queued study is taken up at once
WAITING = "Nobody serves the federation, so the study waits."


def standing_of(folder: StudyFolder, *, federation: Path) -> dict[str, Any]:
    """A study's state and live view as JSON values; `waits` says what to do if nobody serves, else it is None."""
    standing = folder.standing()
    live = {"round": 0, "rounds": folder.study().rounds.count, "committed": 0, "sites": []} | folder.read_status()
    age = _age_s(standing.since)
    quiet = min(age, _age_s(str(live["updated"]))) if "updated" in live else age
    data = live | {"study": folder.name} | standing.model_dump(mode="json") | {"state_age_s": round(age, 1)}
    unserved = standing.state in (StudyState.RUNNING, StudyState.QUEUED) and quiet > QUIET_S and not served(federation)
    return data | {"waits": f"Run: {typed('federation', 'serve', federation)}" if unserved else None}


def show_standing(data: dict[str, Any]) -> Group:
    """A study's standing for a person: what it is, then one line per site."""
    head = {"study": data["study"], "state": data["state"], "rounds": f"{data['committed']} of {data['rounds']}"}
    if data.get("reason"):
        head |= {"because": data["reason"], "what to do": data["remedy"] or ""}
    if data["waits"]:
        head |= {"but": WAITING, "what to do": data["waits"]}
    if data["state"] != StudyState.RUNNING or data["waits"]:
        return Group(facts(head))
    rows = (
        (s["site"], s["phase"] + (f": {s['cause']}" if s["cause"] else ""), f"{s['seconds']:.0f} s", _yes(s["online"]))
        for s in data["sites"]
    )
    stage = Text(f"\nstage {data.get('stage', 'starting')} of round {data['round']}")
    return Group(facts(head), stage, table(("site", "is", "for", "connected"), rows))


def served(federation: Path) -> bool:
    """Whether `federation serve` runs: it holds its lock as long as it lives."""
    try:
        with (federation / "run" / "serve.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _age_s(at: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
