"""`wardround site passphrase`: the site's keys are written anew, encrypted or not."""

from pathlib import Path
from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config
from client.settings import folder_of
from shared.console import Answer, answering
from shared.key_files import rekeyed

KEYS = ("keys/transport.pem", "keys/identity.pem")


@answering("site.passphrase")
def passphrase(
    config: Config = DEFAULT_CONFIG,
    *,
    new: Annotated[Path | None, typer.Option(help="File with the new passphrase, of mode 0600.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the keys unencrypted.")] = False,
) -> Answer:
    """Encrypt the site's private keys under a passphrase, or under another one."""
    return rekeyed(folder_of(config), KEYS, new=new, remove=remove)
