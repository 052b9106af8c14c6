"""A site that leaves for good: it begins nothing, says so to whoever asks, and keeps its ledger.

`left.json` in the site's folder says who decided it, when and why:

1. The running agent finishes and sends what is in hand.
2. Whoever asks it to open a study or to work hears a refusal, `left`, once for each study that is open; that study is
   then over here. A study can be closed as ever.
3. When no study is open here any more the agent ends, and does not start again.
"""

from collections.abc import Collection
from pathlib import Path

from client.pausing import Pause
from client.waiting_entries import keep_entry
from shared.durable import write_atomically
from shared.errors import ConfigError, naming_disk_full

FILE_NAME = "left.json"
ENTRY = "site_left"


def has_left(folder: Path) -> bool:
    """Whether the site in `folder` has left."""
    return (folder / FILE_NAME).exists()


def leave(folder: Path, decided: Pause) -> None:
    """Leave for good; on the disk when this returns.

    Raises:
        DiskFull: there is no room; the site has not left.
    """
    keep_entry(folder, ENTRY, decided.model_dump(mode="json"))
    with naming_disk_full():
        write_atomically(folder / FILE_NAME, decided.model_dump_json().encode(), mode=0o600)


def insist_on_membership(folder: Path, *, open_studies: Collection[str]) -> None:
    """A site that has left starts only to say so.

    Raises:
        ConfigError: it has left, and no study is open here that has to be told.
    """
    if has_left(folder) and not open_studies:
        raise ConfigError(
            "This site has left the federation.", remedy="To come back, join with a new invitation, in another folder."
        )
