"""`wardround study`: what is kept of a study, as a log, a report and a table, and beside another study."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.cli.arguments import HERE, Federation, Name
from server.cli.lettering import Lettered, names_of, show_key
from server.log import JournalReader, Line, read_log
from server.study_folder import ENDED, StudyFolder, find_launched, find_study
from shared.console import Answer, answering, facts, printable, progress_console
from shared.durable import write_atomically
from shared.errors import WardroundError
from shared.keys import VerifyKey

app = typer.Typer()

TURN_S = 0.5


@app.command()
@answering("study.log")
def log(
    name: Name,
    federation: Federation = HERE,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the study has ended.")] = False,
) -> Answer:
    """Tell a study's journal in plain words, one line an entry, and verify it meanwhile."""
    from server.federation import load_federation

    folder, key = find_study(federation, name), load_federation(federation).coordinator_keys
    lines: list[Line] = []
    shown: list[RenderableType] = []
    console = progress_console()
    give = console.print if follow else shown.append
    error = None
    try:
        for words in _told(_kept(lines, _log(folder, key, follow=follow))):
            give(words)
    except WardroundError as found:
        error = found
    else:
        shown.append(Text(f"\n{_end(lines)}"))
    data = {"study": name, "entries": [asdict(line) for line in lines], "signed_entries": _signed(lines)}
    return Answer(data | {"verified": error is None}, Group(*shown), error)


@app.command()
@answering("study.compare")
def compare(
    a: Annotated[str, typer.Argument(help="A study's name.")],
    b: Annotated[str, typer.Argument(help="Another study's name.")],
    federation: Federation = HERE,
    letters: Lettered = False,
) -> Answer:
    """Put two studies side by side: settings that differ, participation, AUROC, traffic, time."""
    from server.cli.comparing import show_comparison
    from server.report import compare as put_side_by_side
    from server.report import compare_by_letter
    from server.report.comparison import in_json

    one, other = (find_launched(federation, name, done="compared") for name in (a, b))
    if letters:
        found, key = compare_by_letter(one, other, roster=names_of(federation))
        return Answer(in_json(found) | {"letters": key}, Group(show_comparison(found), show_key(key)))
    found = put_side_by_side(one, other)
    return Answer(in_json(found), show_comparison(found))


@app.command()
@answering("study.report")
def report(name: Name, federation: Federation = HERE, letters: Lettered = False) -> Answer:
    """Write the study's report, one self-contained HTML file."""
    from server.report import report_data, write_report, write_report_by_letter

    folder = find_launched(federation, name, done="reported")
    key: dict[str, str] = {}
    if letters:
        path, key = write_report_by_letter(folder, roster=names_of(federation))
    else:
        path = write_report(folder)
    data: dict[str, Any] = {"study": name, "report": str(path), "csv": str(path.with_suffix(".csv"))}
    said = f"The report is {path}\nIts figures are in {path.stem}.csv beside it."
    if not letters:
        return Answer(data | {"facts": report_data(folder)}, said)
    data |= {"facts": report_data(folder, lettered=True, roster=names_of(federation)), "letters": key}
    sampled = folder.study().rounds.sample is not None
    return Answer(data, Group(Text(said), show_key(key, sampled=sampled)))


@app.command()
@answering("study.track")
def track(
    name: Name,
    to: Annotated[str, typer.Option("--to", help="The MLflow server, such as http://127.0.0.1:5000.")],
    federation: Federation = HERE,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the study has ended.")] = False,
) -> Answer:
    """Send the study's figures to an MLflow server (extra: tracking)."""
    from server.report.tracking import EXPERIMENT, Tracker, send_figures

    folder, tracker = find_launched(federation, name, done="tracked"), Tracker(to)
    run = send_figures(folder, tracker, follow=follow)
    data = {"study": name, "experiment": EXPERIMENT, "run": run, "figures": tracker.figures}
    return Answer(data, f"{tracker.figures} figures are in the experiment {EXPERIMENT}, run {run}.")


@app.command()
@answering("study.receipts")
def receipts(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="A folder for the receipts.")],
    federation: Federation = HERE,
) -> Answer:
    """Sign a receipt for each site that put the study away: it anchors the end of that site's ledger."""
    from server.federation import load_federation
    from server.journal import read_history
    from server.receipts import closing_receipts
    from shared.clock import utc_now

    folder = find_launched(federation, name, done="receipted")
    key = load_federation(federation).coordinator_key
    given = closing_receipts(read_history(folder.journal), key=key, now=utc_now())
    to.mkdir(parents=True, exist_ok=True)
    files = {site: to / f"{site}-{name}-receipt.jsonl" for site in given}
    for site, receipt in given.items():
        write_atomically(files[site], receipt.line())
    shown = facts({site: str(file) for site, file in files.items()})
    none = Text("No site has put the study away yet, so there is nothing to sign.")
    return Answer({"study": name, "receipts": {site: str(f) for site, f in files.items()}}, shown if given else none)


def _log(folder: StudyFolder, key: VerifyKey, *, follow: bool) -> Iterator[Line]:
    def over() -> bool:
        return not follow or folder.standing().state in ENDED

    return read_log(JournalReader(folder.journal, public_key=key), over=over, rest=lambda: time.sleep(TURN_S))


def _kept(lines: list[Line], log: Iterable[Line]) -> Iterator[Line]:
    for line in log:
        lines.append(line)
        yield line


def _told(lines: Iterable[Line]) -> Iterator[RenderableType]:
    """Number, time of day, round and words, for 80 columns; the day stands where it changes."""
    day = None
    for line in lines:
        if line.time[:10] != day:
            day = line.time[:10]
            yield Text(f"{day}, times in UTC", style="bold")
        number = "" if line.round is None else f"r{line.round}"
        yield _beside(f"{line.n:>5} {line.time[11:19]} {number:>5}", line.words, style="dim" if line.signs else "")
        for words in line.unusual:
            yield _beside(f"{'~':>20}", words, style="yellow")


def _beside(head: str, words: str, *, style: str) -> Table:
    """Words behind their head, folded beneath themselves: what a line is there to say may stand at its end."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(head), Text(printable(words)), style=style)
    return grid


def _end(lines: list[Line]) -> str:
    """What of the journal is vouched for."""
    if not lines:
        return "The journal is empty: the study has not begun."
    return f"{len(lines)} entries. The chain holds; the coordinator's signature covers the first {_signed(lines)}."


def _signed(lines: list[Line]) -> int:
    return max((line.n for line in lines if line.signs), default=0)
