"""`wardround study`: see where a study stands, watch it, stop it, and let it go on."""

import time

import typer
from rich.live import Live

from server.cli.arguments import HERE, Federation, Name, about
from server.cli.standing import WAITING, show_standing, standing_of
from server.study_folder import ENDED, StudyState, all_studies, find_study
from shared.console import Answer, answering, progress_console, table
from shared.errors import StudyError

app = typer.Typer()

TURN_S = 0.5


@app.command()
@answering("study.status")
def status(name: Name, federation: Federation = HERE) -> Answer:
    """Show where a study stands and what each site is doing."""
    folder = find_study(federation, name)
    data = standing_of(folder, federation=federation)
    return Answer(data, show_standing(data))


@app.command(name="list")
@answering("study.list")
def list_studies(federation: Federation = HERE) -> Answer:
    """List the studies of a federation."""
    found = [standing_of(folder, federation=federation) for folder in all_studies(federation)]
    rows = (
        (
            s["study"],
            s["state"] + (", not served" if s["waits"] else ""),
            f"{s['committed']}/{s['rounds']}",
            s["since"][:19],
        )
        for s in found
    )
    return Answer({"studies": found}, table(("study", "state", "rounds", "since"), rows))


@app.command()
@answering("study.watch")
def watch(name: Name, federation: Federation = HERE) -> Answer:
    """Follow a study until it ends; Ctrl-C leaves it running."""
    folder = find_study(federation, name)
    console, told = progress_console(), False
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while (data := standing_of(folder, federation=federation))["state"] not in ENDED:
            live.update(show_standing(data))
            if data["waits"] and not told and not console.is_terminal:  # where nothing is drawn
                console.print(f"{WAITING} {data['waits']}", soft_wrap=True)
            told = bool(data["waits"])
            time.sleep(TURN_S)
    error = None
    if data["state"] == StudyState.FAILED:
        error = StudyError(data["reason"] or "The study failed.", remedy=data["remedy"] or "See its journal.")
    return Answer(data, show_standing(data), error)


@app.command()
@answering("study.stop")
def stop(name: Name, federation: Federation = HERE) -> Answer:
    """Stop a study after the messages in hand; it can be resumed."""
    from server.desk import utc_now

    folder = find_study(federation, name)
    state = folder.standing().state
    if state in ENDED:
        raise StudyError(f"The study {name} is {state.value} already.", remedy="There is nothing to stop.")
    folder.ask_to_stop()  # also where it is queued: its process may be starting at this moment
    if state is StudyState.QUEUED:
        folder.move(StudyState.STOPPED, now=utc_now(), reason="The coordinator asked to stop.")
    see = about("status", name, federation)
    return Answer({"study": name}, f"The study {name} is asked to stop; see: {see}")


@app.command()
@answering("study.resume")
def resume(name: Name, federation: Federation = HERE) -> Answer:
    """Let a stopped or failed study go on from its last committed round."""
    from server.desk import utc_now

    folder = find_study(federation, name)
    state = folder.standing().state
    if state not in (StudyState.STOPPED, StudyState.FAILED):
        raise StudyError(
            f"The study {name} is {state.value}; only a stopped or failed study is resumed.",
            remedy=f"See `{about('status', name, federation)}`.",
        )
    folder.clear_stop()
    folder.move(StudyState.QUEUED, now=utc_now())
    return Answer({"study": name}, f"The study {name} is queued again.")
