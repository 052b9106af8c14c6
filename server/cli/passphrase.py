"""`wardround federation passphrase`: the federation's keys are written anew, encrypted or not."""

from pathlib import Path
from typing import Annotated

import typer

from server.federation import existing_federation
from shared.console import Answer, answering
from shared.key_files import rekeyed

# Not the server's TLS key, which Flower reads itself.
KEYS = ("coordinator.key", "ca/key.pem", "ca/next/key.pem", "ca/old-key.pem")


@answering("federation.passphrase")
def passphrase(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")],
    *,
    new: Annotated[Path | None, typer.Option(help="File with the new passphrase, of mode 0600.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the keys unencrypted.")] = False,
) -> Answer:
    """Encrypt the coordinator's and the authority's private keys, or do so under another passphrase."""
    return rekeyed(existing_federation(folder), KEYS, new=new, remove=remove)
