"""`wardround federation passphrase`: the federation's keys are written anew, encrypted or not."""

from pathlib import Path
from typing import Annotated

import typer

from server.federation import existing_federation
from shared.console import Answer, answering
from shared.key_files import asked_passphrase, rekey

KEYS = ("coordinator.key", "ca/key.pem", "ca/next/key.pem")  # the server's TLS key Flower reads itself


@answering("federation.passphrase")
def passphrase(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")],
    *,
    new: Annotated[Path | None, typer.Option(help="File with the new passphrase, of mode 0600.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the keys unencrypted.")] = False,
) -> Answer:
    """Encrypt the coordinator's and the authority's private keys, or do so under another passphrase."""
    wanted = asked_passphrase(new, remove=remove)
    written = rekey(existing_federation(folder), KEYS, passphrase=wanted)
    how = "unencrypted" if wanted is None else "encrypted"
    return Answer({"keys": list(written), "encrypted": wanted is not None}, f"{', '.join(written)}: {how}.")
