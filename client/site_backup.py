"""Backup and restore of what makes a site: keys, admission, settings, ledger, budget, approvals, finished work.

1. In it is what `FILES`, `FOLDERS` and `_REQUEST` name, and nothing else that lies in the site's folder: no images and
   no table of labels, nothing of the cache, the PACS, the backbones, the logs and the line.
2. It is taken while the agent is stopped, so that ledger and budget are of one moment.
3. A restored site lacks what it did since. Nothing hides that: the coordinator's heads and the receipts name entries
   that its ledger does not have, and until a person declares the loss it is refused (`client/privacy/claims.py`).

How the file is written and read is decided in `shared/backup_file.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from client import admission, coordinators, leaving, opening_evidence, pausing, peers, waiting_entries
from client.privacy import budget_file, claims, withdrawn
from client.receipts import LEDGER_FILE, RECEIPTS_FILE
from client.settings import FILE_NAME, load_settings
from client.stopped import agent_stopped
from shared import folder_format
from shared.backup_file import insist_on_new, make_folder, write_backup
from shared.durable import locked
from shared.errors import ConfigError, TrustError
from shared.ledger import read_entries
from shared.sealed import SITE

FILES = (
    *(folder_format.FILE_NAME, FILE_NAME, "invitation.json"),
    *(admission.FILE_NAME, coordinators.FILE_NAME, peers.FILE_NAME),
    *(LEDGER_FILE, RECEIPTS_FILE, budget_file.FILE_NAME, claims.FILE_NAME, withdrawn.FILE_NAME),
    *(pausing.FILE_NAME, leaving.FILE_NAME, waiting_entries.FILE_NAME, waiting_entries.DAMAGED_FILE),
)
FOLDERS = (
    *("keys", "approvals", "state", str(opening_evidence.FOLDER), "image-lists", "training-patients"),
    *("store-consents", "spool"),
)
_REQUEST = "*-request.json"  # to join: under the site's name
_UNFINISHED = (".partial", ".part")
_INCOMING = "incoming.safetensors"  # the coordinator's, who sends it again


class Restored(NamedTuple):
    """What was restored: the site's name, the number of files, and the ledger's last entry and its time, if any."""

    site: str
    files: int
    entries: int
    last: str | None


def back_up(folder: Path, file: Path, *, passphrase: str) -> int:
    """Write a backup.

    Args:
        folder: the site's.
        file: the backup; it must not exist, nor lie in the folder.
        passphrase: whoever has it and the file has the site's keys.

    Returns:
        The number of files in it.

    Raises:
        ConfigError: the file is there already.
        ResourceError: the agent runs, or the disk refused; no backup is left.
    """
    folder, file = folder.resolve(), file.resolve()
    insist_on_new(file, folder, whose="site's")
    with agent_stopped(folder), locked(folder):
        return write_backup(folder, file, lambda: _members(folder), kind=SITE, passphrases=(passphrase,))


def restore(file: Path, folder: Path, *, passphrase: str) -> Restored:
    """Make a site's folder from a backup.

    Args:
        file: the backup.
        folder: where; it must not exist, or be empty.
        passphrase: the one that it was written under.

    Raises:
        ConfigError: the folder is not empty, or the file cannot be read.
        TrustError: the passphrase is another, or the file is none of these, damaged or cut off; nothing is written.
        ResourceError: the disk refused; nothing is written.
    """
    count = make_folder(file, folder, kind=SITE, passphrases=(passphrase,), check=_insist_on_site, whose="site")
    ledger = folder / LEDGER_FILE
    last = max(((e.n, e.time) for e in read_entries(ledger)), default=(0, None)) if ledger.is_file() else (0, None)
    return Restored(load_settings(folder / FILE_NAME).site.name, count, *last)


def _members(folder: Path) -> Iterator[Path]:
    """What belongs into a backup: folders before what is in them."""
    named = [*(folder / name for name in FILES), *sorted(folder.glob(_REQUEST))]
    yield from (path for path in named if path.is_file() and not path.is_symlink())
    for top in (folder / name for name in FOLDERS):
        found = [top, *sorted(top.rglob("*"))] if top.is_dir() and not top.is_symlink() else []
        for path in found:
            parts = path.relative_to(folder).parts
            unfinished = path.name == _INCOMING or any(part.endswith(_UNFINISHED) for part in parts)
            if not unfinished and not path.is_symlink() and (path.is_file() or path.is_dir()):
                yield path


def _insist_on_site(folder: Path) -> None:
    folder_format.insist_on_format(folder)
    try:
        load_settings(folder / FILE_NAME)
    except ConfigError:
        raise TrustError("The backup holds no site that this version can read.", remedy="Take another copy.") from None
