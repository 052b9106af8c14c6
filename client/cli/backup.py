"""`wardround site backup | restore`: what makes a site in one encrypted file, which one passphrase opens."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config, about_site
from shared.command_line import typed
from shared.console import Answer, answering, facts
from shared.errors import ConfigError
from shared.passphrase import long_enough, read_passphrase

PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the backup's passphrase, of mode 0600; without it you are asked.")
]
_SINCE = (
    "What this site did since is not in it: updates that left, what patients paid, and who withdrew. The coordinator's"
    " next message of a study betrays that, and the site refuses it (foreign_head) until the loss is declared; see"
    " After a restore in docs/site-life.md. If you know already that something is missing, tell the coordinator. Start"
    " no second site from it while the first one runs."
)


@answering("site.backup")
def backup(
    to: Annotated[Path, typer.Option(help="The new file.")],
    *,
    config: Config = DEFAULT_CONFIG,
    passphrase_file: PassphraseFile = None,
) -> Answer:
    """Write keys, settings, ledger, budget and finished work into one encrypted file. Stop the agent first."""
    from client.site_backup import back_up
    from client.site_folder import joined_folder

    count = back_up(joined_folder(config), to, passphrase=_passphrase(passphrase_file, new=True))
    shown = {
        "Backup": to,
        "Files": count,
        "Not in it": "images, labels, the cache, files that site.toml names",
        "Keep": "it apart from this machine, and the passphrase apart from it",
        "Next": f"try it: {typed('site', 'restore', to, '--to', 'NEW-DIR')}",
    }
    return Answer({"backup": str(to), "files": count, "bytes": to.stat().st_size}, facts(shown))


@answering("site.restore")
def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    to: Annotated[Path, typer.Option(help="The site's new folder.")],
    *,
    passphrase_file: PassphraseFile = None,
) -> Answer:
    """Make the site's folder from a backup: all of it or nothing."""
    from client.settings import FILE_NAME
    from client.site_backup import restore as restore_folder

    done = restore_folder(file, to, passphrase=_passphrase(passphrase_file, new=False))
    last = f"{done.entries:,}, of {done.last[:19]}Z" if done.last else "none"
    shown = {"Site": done.site, "Folder": to, "Files": done.files, "Last entry": last}
    shown["Next"] = f"{about_site(to / FILE_NAME, 'check')}, then {about_site(to / FILE_NAME, 'start')}"
    said: dict[str, Any] = {"site": done.site, "folder": str(to), "files": done.files}
    said |= {"last_entry": done.entries, "last_entry_time": done.last, "since": _SINCE}
    return Answer(said, Group(facts(shown), Text(f"\n{_SINCE}")))


def _passphrase(file: Path | None, *, new: bool) -> str:
    if file is not None:
        return read_passphrase(file)
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nobody was asked for the passphrase; nothing was written.",
            remedy="Name a file of mode 0600 by --passphrase-file.",
        )
    return long_enough(
        typer.prompt("Passphrase of the backup", hide_input=True, confirmation_prompt=new, err=True), "This passphrase"
    )
