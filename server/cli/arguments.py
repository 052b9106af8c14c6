"""What the commands about a study take, and how they name the command that comes next."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="The study's name.")]
Federation = Annotated[Path, typer.Option("--federation", "-f", help="The federation's folder.")]
HERE = Path()


def typed(*words: object) -> str:
    """A command of ours as it can be typed into a shell."""
    return shlex.join(["wardround", *map(str, words)])


def about(verb: str, name: str, federation: Path) -> str:
    """The whole command about a study that can be typed where this one was."""
    return typed("study", verb, name, *(() if federation == HERE else ("-f", federation)))
