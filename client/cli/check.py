"""`wardround site check`: one page on whether this site can take part, before it does."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.settings import folder_of
from shared.console import WIDTH, Answer, answering, printable, progress_console
from shared.errors import ConfigError, WardroundError

if TYPE_CHECKING:
    from client.checks.grounds import Grounds
    from shared.preflight import Line


@answering("site.check")
def check(
    config: Config = DEFAULT_CONFIG,
    study: Annotated[
        Path | None, typer.Option(help="A study's file: images, memory, one step of it, and what would leave.")
    ] = None,
    idle: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Leave the line idle for so many seconds, too.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Train all rounds of --study here alone, too; as long as that takes.")
    ] = False,
) -> Answer:
    """Look at everything that a site needs, one line each; nothing of your data leaves."""
    from client.checks.grounds import Grounds
    from client.checks.registry import checks_for
    from client.cli.account import read_study
    from shared.preflight import look_at, page

    if baseline and study is None:
        raise ConfigError("There is no study to train alone.", remedy="Name its file with --study.")
    grounds = Grounds(folder_of(config), study=read_study(study), idle_s=idle, baseline=baseline)
    console = progress_console()
    lines = list(look_at(checks_for(grounds), grounds, showing=lambda name: console.status(f"Looking at: {name}")))
    words = list(_would_leave(grounds, lines)) if study is not None else []
    below = Group(Text("\nWhat would leave this site", style="bold"), *map(_item, words)) if words else ""
    return page(lines, more={"site": grounds.folder.name, "would_leave": words}, below=below)


def _would_leave(grounds: "Grounds", lines: "list[Line]") -> Iterator[str]:
    """The study's contract in plain words, as far as it can be drawn up here."""
    from client.explain import what_leaves
    from shared.contract import contract_of

    if any(line.name == "site.toml" and line.finding is not None and line.finding.remedy for line in lines):
        return
    study, policy = grounds.asked, grounds.settings.policy
    try:
        contract = contract_of(study, grounds.tensors, site=grounds.invitation.site)
        yield from what_leaves(study, contract, policy.floors())
    except WardroundError as error:
        yield f"It cannot be said: {error.what}"


def _item(words: str) -> Text:
    return Text(
        textwrap.fill(printable(words), WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
    )
