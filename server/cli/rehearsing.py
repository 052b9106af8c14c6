"""`wardround study rehearse`: every site does one step of a round, and says only whether it can, and how fast."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.cli.arguments import HERE, Federation, StartModel, a_number, about, read_study
from server.cli.running import ask_to_stop, follow
from server.forecast import Forecast, Seen, forecast, sites_of
from server.report.words import coarse
from server.study_folder import ENDED, StudyFolder, StudyState, all_studies
from shared.console import Answer, Interrupted, answering, facts, printable
from shared.errors import StudyError
from shared.rehearsal import Check, Outcome, Terms, outcome
from shared.schedule import LONGEST_WAIT_S
from shared.study import Study

app = typer.Typer()

DEADLINE_S = 1800.0  # a first look at all images may take long; the second finds them decoded
STOP_PATIENCE_S = 20.0
Deadline = Annotated[
    float, typer.Option(min=1, max=LONGEST_WAIT_S, callback=a_number, help="Seconds that a site may take.")
]
_NOT_REACHED = "\N{EN DASH}"


@app.command()
@answering("study.rehearse")
def rehearse(
    path: Annotated[Path, typer.Argument(help="The study file.")],
    federation: Federation = HERE,
    start_model: StartModel = None,
    deadline: Deadline = DEADLINE_S,
) -> Answer:
    """Let every site do one step of a round on its real images and say whether it can, and how fast; Ctrl-C ends it."""
    study = read_study(path)
    folder = begin(study, federation, start_model=start_model, deadline_s=deadline)
    follow_to_end(folder, federation)
    return _answer(study, folder)


def begin(
    study: Study, federation: Path, *, start_model: Path | None, deadline_s: float, survey: bool = False
) -> StudyFolder:
    """Queue the rehearsal of a study, in which sites count what they have if a survey is asked for.

    Raises:
        StudyError: it trains privately, its rounds could not be filled, or there is no room for it.
    """
    from server.clone import toml_of
    from server.cohort import choose
    from server.federation import load_federation
    from server.launch import launch
    from server.rehearsal import rehearsal_of
    from shared.clock import utc_now

    sites, rounds = load_federation(federation).roster.sites(), study.rounds
    choose(sites, rounds.sites, quorum=rounds.quorum, sample=rounds.sample, buffer=rounds.buffer)
    tried = rehearsal_of(study, taken={known.name for known in all_studies(federation)})
    source = f"# A rehearsal of {study.name}.\n{toml_of(tried, tried.name)}"
    terms = Terms(deadline_s=deadline_s, survey=survey)
    return launch(federation, tried, source=source, start_model=start_model, now=utc_now(), rehearsal=terms)


def follow_to_end(folder: StudyFolder, federation: Path) -> None:
    """Follow the rehearsal to its end; Ctrl-C ends it at the sites, too.

    Raises:
        StudyError: it was stopped elsewhere, or failed.
        Interrupted: it was stopped here.
    """
    try:
        data = follow(folder, federation)
    except KeyboardInterrupt:
        ask_to_stop(folder)
        raise _cut_short(folder, about("status", folder.name, federation)) from None
    if data["state"] != StudyState.FINISHED:
        why = f": {data['reason']}" if data["reason"] else "."
        remedy = data["remedy"] or f"See `{about('status', folder.name, federation)}`; then rehearse again."
        raise StudyError(f"The rehearsal {folder.name} is {data['state']}, so nothing is known{why}", remedy=remedy)


def _cut_short(folder: StudyFolder, status: str) -> Interrupted:
    """What Ctrl-C came to, once the rehearsal has ended or was waited for long enough."""
    deadline = time.monotonic() + STOP_PATIENCE_S
    while (state := folder.standing().state) not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)
    anew = "The same command begins a new rehearsal."
    if state is StudyState.STOPPED:
        return Interrupted(f"The rehearsal {folder.name} was stopped by the keyboard, at the sites, too.", remedy=anew)
    return Interrupted(
        f"The rehearsal {folder.name} was asked to stop by the keyboard, and is {state}.",
        remedy=f"See `{status}`. {anew}",
    )


def _answer(study: Study, folder: StudyFolder) -> Answer:
    from server.journal import read_history

    found = forecast(study, sites_of(read_history(folder.journal)))
    data = {"study": study.name, "rehearsal": folder.name, "ready": found.ready, **_as_json(found)}
    if found.ready:
        return Answer(data, shown(study, found))
    unfit = sorted({remark.site for remark in found.remarks if remark.outcome is Outcome.FIX})
    error = StudyError(
        f"{study.name} is not ready: {', '.join(unfit)}.", remedy="Do what stands behind FIX, then rehearse again."
    )
    return Answer(data, shown(study, found), error)


def _as_json(found: Forecast) -> dict[str, Any]:
    sites = [
        asdict(seen)
        | {"round_s": seen.round_s}
        | {"findings": {check: {"outcome": outcome(code), "code": code} for check, code in seen.findings.items()}}
        for seen in found.sites
    ]
    return asdict(found) | {"sites": sites}


def shown(study: Study, found: Forecast) -> Group:
    """A forecast for 80 columns: the checks site by site, what to do, how long it takes, what would be better."""
    parts: list[RenderableType] = [_table(found)]
    if found.remarks:
        parts += [
            Text(),
            _lines((r.outcome.value.upper(), f"{r.site}, {r.check}: {r.what} {r.remedy}") for r in found.remarks),
        ]
    parts += [Text(), facts(_figures(study, found))]
    if found.advice:
        parts += [Text(), _lines(("advice", line) for line in found.advice)]
    return Group(*parts)


def _table(found: Forecast) -> Table:
    """Ten columns in 80 characters, with room for a site's name: one space between them."""
    heads = ("site", *(check.value for check in Check), "round")
    grid = Table(*heads, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for seen in found.sites:
        grid.add_row(*(Text(printable(cell), overflow="fold") for cell in _row(seen)))
    return grid


def _row(seen: Seen) -> Iterator[str]:
    yield seen.site
    for check in Check:
        yield outcome(seen.findings[check]).value.upper() if check in seen.findings else _NOT_REACHED
    if seen.round_s is None:
        yield _NOT_REACHED
    else:
        yield "<1 s" if seen.round_s < 1 else coarse(seen.round_s)


def _lines(rows: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for word, said in rows:
        grid.add_row(Text(word), Text(printable(said)))
    return grid


def _figures(study: Study, found: Forecast) -> dict[str, str]:
    if found.round_s is None or found.study_s is None:
        return {"a round": "not known: no site came to its end"}
    figures = {"a round": f"{_roughly(found.round_s)}; {found.slowest} takes longest"}
    if study.study.kind == "train":
        figures["the study"] = f"{_roughly(found.study_s)}: {study.rounds.count} rounds, and the trips around them"
    return figures


def _roughly(seconds: float) -> str:
    return coarse(seconds) if seconds < 1 else f"about {coarse(seconds)}"
