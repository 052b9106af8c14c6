"""What a person is told of a report by letter: who is who, which stands in no file of the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from shared.console import table

Lettered = Annotated[
    bool, typer.Option("--letters", help="Show sites as letters; who is who is printed here and nowhere else.")
]
_WARNING = "Letters hide names, not sizes or machines: whoever knows how many patients a site has may know it again."
_SAMPLED = "This study draws its sites anew each round: whoever knows its seed and the names can tell who was drawn."


def names_of(federation: Path) -> tuple[str, ...]:
    """Every site of the federation's roster; words about a study may name those, too."""
    from server.federation import load_federation

    return load_federation(federation).roster.sites()


def show_key(key: Mapping[str, str], *, sampled: bool = False) -> Group:
    """Who is who, for the coordinator alone."""
    notes = (_WARNING, _SAMPLED) if sampled else (_WARNING,)
    return Group(Text(), table(("letter", "is"), key.items()), Text("\n" + "\n".join(notes)))
