"""`wardround federation backup | restore`: the whole folder in one file that two people open together."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from server.membership.backup import back_up
from server.membership.backup import restore as restore_folder
from shared.command_line import typed
from shared.console import Answer, answering, facts
from shared.errors import ConfigError
from shared.passphrase import long_enough, read_passphrase

First = Annotated[
    Path | None, typer.Option(help="File with one person's passphrase, of mode 0600; without it you are asked.")
]
Second = Annotated[Path | None, typer.Option(help="As --first, of the other person.")]


@answering("federation.backup")
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")],
    to: Annotated[Path, typer.Option(help="The new file.")],
    first: First = None,
    second: Second = None,
) -> Answer:
    """Write the whole federation into one encrypted file, which two people open together."""
    count = back_up(folder, to, passphrases=_both(first, second, new=True))
    shown = {
        "Backup": to,
        "Files": count,
        "Keep": "it apart from this machine, and each passphrase with its person alone",
        "Next": f"try it: {typed('federation', 'restore', to, '--to', 'NEW-DIR')}",
    }
    return Answer({"backup": str(to), "files": count, "bytes": to.stat().st_size}, facts(shown))


@answering("federation.restore")
def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    to: Annotated[Path, typer.Option(help="The federation's new folder.")],
    first: First = None,
    second: Second = None,
) -> Answer:
    """Make the federation's folder from a backup, with both passphrases: all of it or nothing."""
    count = restore_folder(file, to, passphrases=_both(first, second, new=False))
    shown = {"Federation": to, "Files": count, "Next": typed("federation", "serve", to)}
    return Answer({"folder": str(to), "files": count}, facts(shown))


def _both(first: Path | None, second: Path | None, *, new: bool) -> tuple[str, str]:
    if (first is None or second is None) and not sys.stdin.isatty():
        raise ConfigError(
            "Nobody was asked for the two passphrases; nothing was written.",
            remedy="Name two files of mode 0600 by --first and --second.",
        )
    return _one(first, "first", new=new), _one(second, "second", new=new)


def _one(file: Path | None, who: str, *, new: bool) -> str:
    if file is not None:
        return read_passphrase(file)
    said = typer.prompt(f"Passphrase of the {who} person", hide_input=True, confirmation_prompt=new, err=True)
    return long_enough(said, "This passphrase")
