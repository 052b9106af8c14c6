"""`wardround site pull`: what the site's query finds in its PACS, into the site's own folder."""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from client.hours import within
from client.settings import FILE_NAME, SiteSettings, folder_of, load_settings
from shared.console import Answer, answering, facts, progress_console
from shared.errors import ConfigError, ResourceError, WardroundError
from shared.quiet import quiet

if TYPE_CHECKING:
    from client.pacs.account import Account
    from client.pacs.archive import Archive
    from client.pacs.settings import PacsSettings

_GB = 1_000_000_000


@answering("site.pull")
def pull(
    config: Annotated[Path, typer.Option("--config", help=f"The site's {FILE_NAME}.")] = Path(FILE_NAME),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much the query finds.")] = False,
) -> Answer:
    """Copy what data.pacs.query finds in the PACS; given again, it goes on where it was."""
    from client.pacs.account import Account

    folder, settings = folder_of(config), load_settings(config)
    if settings.data.pacs is None:
        raise ConfigError("This site names no PACS.", remedy=f"Write [data.pacs] into {FILE_NAME}, or use data.folder.")
    account, error = Account(), None
    try:
        with quiet():
            _pull(settings, settings.data.pacs, folder, account, dry=dry_run)
    except WardroundError as caught:  # with the counts of what came all the same
        error = caught
    if account.failed and error is None:
        error = ResourceError(
            f"{len(account.failed):,} of {account.instances:,} instances did not come; the others are here.",
            remedy="See `failed` for the reasons; the same command tries them again, and them alone.",
        )
    said = account.as_json() | {"dry_run": dry_run}
    return Answer(said, Group(facts(_shown(account, dry=dry_run)), *map(Text, _remarks(account))), error)


def _pull(settings: SiteSettings, pacs: "PacsSettings", folder: Path, account: "Account", *, dry: bool) -> None:
    from client.pacs.inflow import Inflow
    from client.pacs.pull import Pull
    from client.pacs.pull_entries import written_down
    from client.pacs.query import Query, read_accessions
    from client.pacs.shelf import Shelf
    from shared.clock import utc_now

    shelf, hours = Shelf(folder, free_bytes=pacs.free_gb * _GB), settings.policy.hours
    accessions = read_accessions(folder / pacs.query.accessions) if pacs.query.accessions else ()
    entries = nullcontext() if dry else written_down(folder, pacs, accessions, account, now=utc_now)
    with shelf.open(), closing(_archive(pacs, folder)) as archive, entries, _bar() as bar:
        task = bar.add_task("exams", total=None, counts="")
        inflow = Inflow(
            shelf,
            account,
            in_hours=lambda: within(hours, datetime.now()),
            mb_per_s=pacs.mb_per_s,
            instances_per_s=pacs.instances_per_s,
            kept=lambda: bar.update(task, counts=f"{account.pulled:,} pulled, {account.pulled_bytes / 1e6:,.0f} MB"),
        )
        query = Query(pacs.query, accessions)
        work = Pull(archive, query, shelf=shelf, inflow=inflow, account=account, dry=dry)
        exams = work.exams()
        bar.update(task, total=len(exams))
        work.run(exams, lanes=pacs.lanes, done=lambda: bar.advance(task))


def _archive(pacs: "PacsSettings", folder: Path) -> "Archive":
    if pacs.web:
        from client.pacs.web import Web

        return Web(pacs, folder)
    from client.pacs.dimse import Dimse

    return Dimse(pacs, folder)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[counts]}"))
    return Progress(*columns, TimeElapsedColumn(), console=progress_console())


def _shown(account: "Account", *, dry: bool) -> dict[str, object]:
    said = account.as_json()
    found = f"{account.exams:,} exams, {account.series:,} series, {account.instances:,} instances"
    lists = {name: ", ".join(f"{word} {n:,}" for word, n in said[name].items()) for name in ("left_out", "failed")}
    came = f"{account.pulled:,} instances, {account.pulled_bytes / 1e6:,.1f} MB"
    return {
        "found": found,
        **({"to pull": f"{account.instances - account.already_there:,} instances"} if dry else {"pulled": came}),
        "already here": f"{account.already_there:,}",
        **{name.replace("_", " "): words for name, words in lists.items() if words},
    }


def _remarks(account: "Account") -> Iterator[str]:
    if account.others and not account.instances:
        yield f"\nThis query finds nothing; the {account.others:,} files of earlier pulls stay, and are still used."
    elif account.others:
        yield (
            f"\n{account.others:,} files of earlier pulls are not what this query finds, and are still used. "
            "Remove pacs/images and pull again to have this query's alone."
        )
