"""`wardround health`: whether the site or server of a folder lives, for health checks of containers and Kubernetes.

It asks for life, not for luck: a site whose line is down is alive, and starting it again would mend nothing.

1. A site is alive while its agent's process is there and has said how it is within the last ten minutes, which is
   longer than any step of its loop.
2. A server is alive while it completes a TLS handshake with the federation's certificate on this machine.
"""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from shared.console import Answer, answering, facts
from shared.errors import ConfigError, LinkError, ResourceError
from shared.monitoring import SILENCE_S

app = typer.Typer(add_completion=False)


@app.command()
@answering("health")
def health(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a site or of a federation.")],
) -> Answer:
    """Say whether the site or server of a folder is alive; exit 0 means yes."""
    if (folder / "site.toml").is_file():
        said = site_state(folder, now=time.time())
    elif (folder / "federation.toml").is_file():
        said = server_state(folder)
    else:
        raise ConfigError(
            f"{folder} is the folder of no site and of no federation.", remedy="Name one that holds its .toml."
        )
    return Answer({"state": said}, facts({"alive": said}))


def site_state(folder: Path, *, now: float) -> str:
    """What the site's agent does, if it is alive at `now` (Unix seconds).

    Raises:
        ResourceError: it is not.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_bytes())
        age_s = now - datetime.fromisoformat(found["updated"]).timestamp()
        state, here = str(found["state"]), psutil.pid_exists(int(found["pid"]))
    except (OSError, ValueError, LookupError, TypeError):
        raise _dead("has not been started yet") from None
    if state == "stopped" or not here:
        raise _dead("does not run")
    if age_s > SILENCE_S:
        raise _dead(f"has said nothing for {age_s / 60:.0f} minutes")
    return state


def server_state(folder: Path) -> str:
    """`serving`, if the federation's server is alive.

    Raises:
        LinkError: it is not.
    """
    from server.engine.alive import answers
    from server.federation import load_federation

    if answers(load_federation(folder)):
        return "serving"
    raise LinkError(
        "The server of this federation does not answer on this machine.",
        remedy="Start `wardround federation serve`, or read what it said last.",
    )


def _dead(what: str) -> ResourceError:
    return ResourceError(f"The agent of this site {what}.", remedy="Start `wardround site start`, or read its log.")
