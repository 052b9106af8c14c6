"""Why a study does not move: for everything that waits, why, since when, and what whom should do."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.cli.arguments import about
from server.federation import is_served
from server.owner import read_owner
from server.queue import PLACES
from server.room import has_room
from server.rounds import IN_HAND, Phase
from server.study_folder import Request, Standing, StudyFolder, StudyState, all_studies
from shared.command_line import typed
from shared.errors import WardroundError, WireCode

QUIET_S = 10.0  # a live view is replaced every few seconds, and a queued study is taken up at once
START_S = 60.0  # and its process is there soon after, on a busy machine too
UNSERVED = "nobody serves the federation"
FULL = "the server's disk is full"
ABSENT = (Phase.WAITING.value, Phase.LOST.value)


@dataclass(frozen=True)
class Wait:
    """One thing that waits: why, for how many seconds, and what to do about it."""

    why: str
    since_s: float
    do: str


def waits_of(folder: StudyFolder, standing: Standing, live: Mapping[str, Any], *, federation: Path) -> list[Wait]:
    """Everything that a study waits for, nothing if it moves or has ended.

    Args:
        folder: the study.
        standing: its state.
        live: its live view, which is believed only while it is fresh or somebody serves.
        federation: the federation's folder.
    """
    age = age_s(standing.since)
    match standing.state:
        case StudyState.PAUSED:
            return [Wait("the coordinator paused it", age, f"Let it go on: {about('resume', folder.name, federation)}")]
        case StudyState.QUEUED | StudyState.RUNNING if _unserved(age, live, federation):
            return [Wait(UNSERVED, age, f"Run: {typed('federation', 'serve', federation)}")]
        case StudyState.QUEUED | StudyState.RUNNING if _no_room(folder):
            return [Wait(FULL, _quiet_s(age, live), "Make room on the disk under the federation; it then goes on.")]
        case StudyState.QUEUED:
            return list(_in_line(folder, age, federation))
        case StudyState.RUNNING:
            return [*_requests(folder), *_sites(live)]
    return []


def age_s(at: str) -> float:
    """Seconds since a time (RFC 3339)."""
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()


def _unserved(age: float, live: Mapping[str, Any], federation: Path) -> bool:
    return _quiet_s(age, live) > QUIET_S and not is_served(federation)


def _quiet_s(age: float, live: Mapping[str, Any]) -> float:
    """For how long nothing was heard of the study; `age` is that of its state."""
    return min(age, age_s(str(live["updated"]))) if "updated" in live else age


def _no_room(folder: StudyFolder) -> bool:
    """Whether it has no process, and gets none until its disk has room."""
    owner = read_owner(folder.path)
    with contextlib.suppress(OSError):
        return (owner is None or not owner.alive()) and not has_room(folder)
    return False


def _in_line(folder: StudyFolder, age: float, federation: Path) -> Iterator[Wait]:
    running = [other.name for other in all_studies(federation) if other.name != folder.name and _runs(other)]
    if len(running) >= PLACES:
        why = f"{PLACES} studies at a time, and {', '.join(running)} are in progress"
        yield Wait(why, age, f"Nothing, it starts when one ends; or: {about('pause', running[0], federation)}")
    elif age > START_S:
        yield Wait("its process does not start", age, "See what `wardround federation serve` says.")


def _runs(folder: StudyFolder) -> bool:
    try:
        return folder.standing().state is StudyState.RUNNING
    except WardroundError:
        return False


def _requests(folder: StudyFolder) -> Iterator[Wait]:
    for request, why in (
        (Request.STOP, "it is asked to stop, and ends what is in hand"),
        (Request.PAUSE, "it is asked to pause, and takes in what the sites work on"),
    ):
        if folder.asked(request):
            yield Wait(why, folder.asked_for_s(request), "Nothing.")


def is_silent(site: Mapping[str, Any]) -> bool:
    """Whether the round still counts on a site whose heartbeats have stopped."""
    return site.get("state") == "silent" and site["phase"] in (*ABSENT, *IN_HAND)


def _sites(live: Mapping[str, Any]) -> Iterator[Wait]:
    for site in live.get("sites", ()):
        name, seconds = str(site["site"]), float(site["seconds"])
        if is_silent(site):
            age = float(site.get("last_sign_s") or seconds)
            yield Wait(f"{name} is silent", age, f"Call {name}: is its machine on, and its line up?")
        elif site["phase"] in ABSENT and not site["online"]:
            yield Wait(f"{name} is not connected", seconds, f"Call {name}: have its IT run `wardround site start`.")
        elif site.get("held"):
            yield _held(name, str(site["held"]), age_s(str(site["held_since"])), study=str(live.get("study")))
        elif site["phase"] == Phase.READY.value:
            yield Wait(f"{name} waits for its turn to send", seconds, "Nothing: the others are sending.")


def _held(site: str, code: str, age: float, *, study: str) -> Wait:
    if code == WireCode.OUT_OF_HOURS:
        return Wait(f"{site} is outside its hours", age, "Nothing: it goes on by itself when they begin.")
    if code == WireCode.PAUSED:
        return Wait(f"{site} is paused by its IT", age, f"Call {site} if it takes long: `wardround site resume` there.")
    do = f"Call {site}: have its IT read, and then approve or deny, by `wardround site approve {study}`."
    return Wait(f"{study} waits for the approval of {site}", age, do)
