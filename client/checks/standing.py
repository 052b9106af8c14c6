"""Whether the site takes part at all: it may have been paused, or have left."""

from client.checks.grounds import Grounds
from client.leaving import has_left
from client.pausing import find_pause
from client.scratch import sweep
from shared.preflight import Finding, fix, passed, warn


def look_at_standing(grounds: Grounds) -> Finding:
    """Does the site take up studies, or has a person paused it, or had it leave?"""
    sweep(grounds.folder)
    if has_left(grounds.folder):
        return fix("This site has left the federation.", "To come back, join with a new invitation, in another folder.")
    if (pause := find_pause(grounds.folder)) is not None:
        why = f": {pause.reason}" if pause.reason else ""
        return warn(
            f"Paused by {pause.by} since {pause.since}{why}. No study is opened and no round begun.",
            "When it may go on, run `wardround site resume`.",
            paused_since=pause.since,
        )
    return passed("The site takes part; nobody has paused it.")
