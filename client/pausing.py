"""A pause: hospital IT has the site asked for nothing new, until it says otherwise.

The file `paused.json` in the site's folder is the pause, so that it outlives the agent and binds one that starts:

1. A command writes or removes it, and the ledger says who did, when and why.
2. A study that is to be opened, or a round to be begun, is answered "not yet" (`paused`), and the coordinator sees it.
3. What is in hand is finished, what is finished leaves, and a study can always be closed.

A file that cannot be read is a pause all the same.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from client.person import Person, Reason
from client.waiting_entries import keep_entry
from shared.durable import fsync_folder, write_atomically
from shared.errors import naming_disk_full
from shared.section import Section

if TYPE_CHECKING:
    from client.site import Site

FILE_NAME = "paused.json"
PAUSED, RESUMED = "site_paused", "site_resumed"  # entries of the ledger


class Pause(Section):
    """Who paused the site, since when (RFC 3339, UTC), and why."""

    by: Person
    since: Annotated[str, Field(max_length=40)]
    reason: Reason | None = None


def is_paused(folder: Path) -> bool:
    """Whether the site in `folder` is paused."""
    return (folder / FILE_NAME).exists()


def find_pause(folder: Path) -> Pause | None:
    """The pause of the site in `folder`; None if there is none."""
    try:
        return Pause.model_validate_json((folder / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        return Pause(by="unknown", since="unknown", reason=f"{FILE_NAME} cannot be read")


def paused_s(folder: Path, *, now: str) -> float:
    """For how many seconds the site has been paused at a time (RFC 3339); 0 if it is not, or nobody can say."""
    found = find_pause(folder)
    with suppress(ValueError, TypeError):
        return (datetime.fromisoformat(now) - datetime.fromisoformat(found.since)).total_seconds() if found else 0.0
    return 0.0


def warn_of_long_pause(site: "Site") -> None:
    """Tell the operator of a pause that somebody may have forgotten."""
    if paused_s(site.folder, now=site.now()) > site.settings.notify.paused_hours * 3600:
        site.alarm.tell("paused_long")


def pause(folder: Path, pause: Pause) -> bool:
    """Pause the site; whether it was not paused before. On the disk when this returns.

    Raises:
        DiskFull: there is no room.
    """
    if is_paused(folder):
        return False
    keep_entry(folder, PAUSED, pause.model_dump(mode="json"))
    with naming_disk_full():
        write_atomically(folder / FILE_NAME, pause.model_dump_json().encode(), mode=0o600)
    return True


def resume(folder: Path, *, by: str, now: str) -> Pause | None:
    """End the pause; returns it, or None if there was none.

    Raises:
        DiskFull: there is no room.
    """
    if (found := find_pause(folder)) is None:
        return None
    keep_entry(folder, RESUMED, {"by": by, "since": found.since, "resumed": now})
    (folder / FILE_NAME).unlink(missing_ok=True)
    fsync_folder(folder)
    return found
