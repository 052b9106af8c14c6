"""The one `wardround` command: which words it knows and where each is kept.

A word's module is imported when the word is typed, so `wardround --help` costs neither torch nor
Flower. What a word does, and how it answers, is its module's matter and `shared/console.py`'s.
"""

import os
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Annotated, Any, NamedTuple

import click
import typer
from typer.core import TyperGroup

from shared.console import guarded


class Word(NamedTuple):
    """One word of the command line: the module whose `app` answers it, and its line in --help."""

    module: str
    help: str


WORDS = {
    "demo": Word("deploy.demo.command", "Run a whole federation here: four hospitals, one study."),
    "federation": Word("server.cli.federation", "Coordinator: found a federation, invite, admit, serve."),
    "study": Word("server.cli.study", "Coordinator: write, check, launch and watch a study."),
    "site": Word("client.cli.site", "Hospital: join, start, and see what left."),
    "predict": Word("client.cli.predict", "Hospital: let a released model read images, for research."),
    "audit": Word("deploy.audit.command", "Auditor: check ledgers offline, against what others hold."),
    "health": Word("deploy.health", "Service: whether a site or server is alive, for health checks."),
    "simulate": Word("deploy.simulation.command", "Run a study over many virtual sites in one process."),
    "bench": Word("deploy.bench.command", "Measure and break this installation, with figures."),
}

_COMPLETION = {"install_completion", "show_completion"}  # what Typer adds to a command by itself


class Words(TyperGroup):
    """A group whose commands are stand-ins until one of them is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        present = {name: word for name, word in WORDS.items() if find_spec(word.module) is not None}
        self.commands = {name: click.Command(name, help=word.help) for name, word in present.items()}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the word that was typed, and only that one."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name), rest


def load(name: str) -> click.Command:
    """The command behind a word, from the `app` (a Typer) of its module."""
    word = WORDS[name]
    command = typer.main.get_command(import_module(word.module).app)
    command.name = name
    command.params = [p for p in command.params if p.name not in _COMPLETION]
    return command


app = typer.Typer(
    cls=Words, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, suggest_commands=False
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"wardround {metadata.version('wardround')}")
        raise typer.Exit


@app.callback()
def wardround(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Federated learning for medical imaging: numbers travel, images never do."""


def main() -> None:
    """Entry point of the installed `wardround` command."""
    os.environ.setdefault("GRPC_VERBOSITY", "error")  # gRPC reads it when it is imported; Flower sets it after that
    with guarded("cli", as_json="--json" in sys.argv):
        app(prog_name="wardround")
