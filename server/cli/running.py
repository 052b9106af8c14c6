"""`wardround study`: see where a study stands, watch it, pause or stop it, and let it go on."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from server.cli.arguments import HERE, Federation, Name, a_number, about
from server.cli.standing import show_standing, show_waits, standing_of
from server.federation import existing_federation
from server.log import JournalReader
from server.progress import Progress
from server.study_folder import ENDED, Request, StudyFolder, StudyState, all_studies, find_launched, find_study
from shared.console import Answer, answering, progress_console, table
from shared.errors import StudyError, WardroundError

app = typer.Typer()

TURN_S = 0.5
_OF_STUDIES = ("amended", "replayed")  # what is done with studies that were launched, and with no rehearsal


@app.command()
@answering("study.status")
def status(name: Name, federation: Federation = HERE) -> Answer:
    """Show where a study stands and what each site is doing."""
    data = next(looks(find_study(federation, name), federation))
    return Answer(data, show_standing(data))


@app.command(name="list")
@answering("study.list")
def list_studies(federation: Federation = HERE) -> Answer:
    """List the studies of a federation, and why those wait that do."""
    found = [_listed(folder, federation) for folder in all_studies(existing_federation(federation))]
    rows = ((s["study"], s["state"], _rounds(s), s["since"][:19]) for s in found)
    waits = show_waits((s["study"], wait) for s in found for wait in s["waits"])
    shown = Group(table(("study", "state", "rounds", "since"), rows), *((Text(), waits) if waits.row_count else ()))
    return Answer({"studies": found}, shown)


def _rounds(study: dict[str, Any]) -> str:
    return "rehearsal" if study["rehearsal"] else f"{study['committed']}/{study['rounds']}"


def _listed(folder: StudyFolder, federation: Path) -> dict[str, Any]:
    """A study's standing; one whose folder is damaged says so, and hides no other."""
    try:
        return standing_of(folder, federation=federation)
    except WardroundError as error:
        damage = {"why": error.what, "since_s": 0.0, "do": error.remedy}
        nothing = {"rehearsal": False, "round": 0, "rounds": 0, "committed": 0, "sites": [], "since": ""}
        return nothing | {"study": folder.name, "state": "unreadable", "waits": [damage]}


@app.command()
@answering("study.watch")
def watch(name: Name, federation: Federation = HERE) -> Answer:
    """Follow a study until it ends; Ctrl-C leaves it running."""
    data = follow(find_study(federation, name), federation)
    error = None
    if data["state"] == StudyState.FAILED:
        error = StudyError(data["reason"] or "The study failed.", remedy=data["remedy"] or "See its journal.")
    return Answer(data, show_standing(data), error)


@app.command()
@answering("study.pause")
def pause(name: Name, federation: Federation = HERE) -> Answer:
    """Take in what the sites work on, then wait; the sites keep the study open."""
    folder, state = one_in(federation, name, {StudyState.QUEUED, StudyState.RUNNING}, "paused")
    folder.ask(Request.PAUSE)  # also where it is queued: its process may be starting at this moment
    if state is StudyState.QUEUED:
        _move(folder, StudyState.PAUSED, reason="The coordinator asked to pause.")
    go_on = about("resume", name, federation)
    return Answer({"study": name}, f"The study {name} is asked to pause. To let it go on: {go_on}")


@app.command()
@answering("study.resume")
def resume(name: Name, federation: Federation = HERE) -> Answer:
    """Let a paused, stopped or failed study go on from its last committed round."""
    resumable = {StudyState.PAUSED, StudyState.STOPPED, StudyState.FAILED}
    folder, _ = one_in(federation, name, resumable, "resumed")
    folder.withdraw_requests()
    _move(folder, StudyState.QUEUED)
    return Answer({"study": name}, f"The study {name} is queued again.")


@app.command()
@answering("study.stop")
def stop(name: Name, federation: Federation = HERE) -> Answer:
    """Stop a study after the messages in hand; it can be resumed."""
    stoppable = {StudyState.QUEUED, StudyState.RUNNING, StudyState.PAUSED}
    folder, _ = one_in(federation, name, stoppable, "stopped")
    ask_to_stop(folder)
    see = about("status", name, federation)
    return Answer({"study": name}, f"The study {name} is asked to stop; see: {see}")


@app.command()
@answering("study.amend")
def amend(
    name: Name,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many rounds the study is to have in all.")] = None,
    deadline: Annotated[
        float | None, typer.Option(min=1, callback=a_number, help="Seconds that a round may wait for a site.")
    ] = None,
    federation: Federation = HERE,
) -> Answer:
    """Extend a study's rounds or deadline by a signed amendment, to which the sites must agree."""
    from server.amending import amend as sign
    from server.federation import load_federation

    folder, _ = one_in(federation, name, {*StudyState} - {StudyState.FINISHED}, "amended")
    known = load_federation(federation)
    made = sign(folder, rounds=rounds, deadline_s=deadline, key=known.coordinator_key, keys=known.coordinator_keys)
    terms = made.after
    data = {"study": name, "number": made.number, "rounds": terms.rounds, "deadline_s": terms.deadline_s}
    words = f"Amendment {made.number} is signed: {terms.rounds} rounds, deadline {terms.deadline_s:g} s."
    return Answer(data, f"{words}\nIt is put to the sites before the next round.")


def ask_to_stop(folder: StudyFolder) -> None:
    """Ask for a study's end; one that nobody conducts is stopped at once, or by its next process."""
    state = folder.standing().state
    if state in ENDED:
        return
    folder.ask(Request.STOP)
    if state is not StudyState.RUNNING:  # sites that have opened it are told by its next process, the others need not
        begun = folder.journal.exists()
        _move(folder, StudyState.QUEUED if begun else StudyState.STOPPED, reason="The coordinator asked to stop.")


def follow(folder: StudyFolder, federation: Path) -> dict[str, Any]:
    """Show a study until it has ended; returns where it stands then."""
    console, told = progress_console(), ""
    data: dict[str, Any] = {}
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        for data in looks(folder, federation):
            live.update(show_standing(data))
            told = _say_waits(console, data, told)
            if data["state"] in ENDED:
                break
            time.sleep(TURN_S)
    return data


def looks(folder: StudyFolder, federation: Path) -> Iterator[dict[str, Any]]:
    """Where a study stands, look after look; its journal is read once."""
    from server.federation import load_federation

    key = load_federation(federation).coordinator_keys
    journal, progress = JournalReader(folder.journal, public_key=key), Progress()
    while True:
        progress.add(journal.entries())
        yield standing_of(folder, federation=federation, progress=progress)


def _say_waits(console: Console, data: dict[str, Any], told: str) -> str:
    """Where nothing is drawn, say what waits, once; returns what was said."""
    waits = "; ".join(wait["why"] for wait in data["waits"])
    if waits and waits != told and not console.is_terminal:
        console.print(show_waits(("waits", wait) for wait in data["waits"]))
    return waits


def one_in(federation: Path, name: str, states: set[StudyState], done: str) -> tuple[StudyFolder, StudyState]:
    """A study in one of these states.

    Raises:
        StudyError: it is in another; `done` is what is done with studies in these.
    """
    folder = find_launched(federation, name, done=done) if done in _OF_STUDIES else find_study(federation, name)
    state = folder.standing().state
    if state not in states:
        only = ", ".join(sorted(s.value for s in states))
        raise StudyError(
            f"The study {name} is {state.value}; only one that is {only} can be {done}.",
            remedy=f"See `{about('status', name, federation)}`.",
        )
    return folder, state


def _move(folder: StudyFolder, state: StudyState, *, reason: str | None = None) -> None:
    from shared.clock import utc_now

    folder.move(state, now=utc_now(), reason=reason)
