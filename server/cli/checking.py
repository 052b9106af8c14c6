"""`wardround federation check`: one page on whether this machine can serve the federation."""

from pathlib import Path
from typing import Annotated

import typer

from server.federation import existing_federation
from shared.console import Answer, answering, progress_console


@answering("federation.check")
def check(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")]) -> Answer:
    """Look at everything that the server needs, one line each; changes nothing, and may be given beside a server."""
    from server.checks.grounds import Grounds
    from server.checks.registry import CHECKS
    from shared.preflight import look_at, page

    grounds, console = Grounds(existing_federation(folder)), progress_console()
    return page(list(look_at(CHECKS, grounds, showing=lambda name: console.status(f"Looking at: {name}"))))
