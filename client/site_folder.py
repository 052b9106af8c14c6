"""The folder that a command on a site works in: one that has joined, whose own files are files."""

from pathlib import Path

from client import waiting_entries
from client.join import load_enrolment
from client.privacy import budget_file, claims, withdrawn
from client.privacy.patients import KEY_FILE
from client.receipts import LEDGER_FILE, RECEIPTS_FILE
from client.settings import folder_of
from shared.errors import ConfigError

_FILES = (
    LEDGER_FILE,
    RECEIPTS_FILE,
    KEY_FILE,
    *(module.FILE_NAME for module in (budget_file, claims, waiting_entries, withdrawn)),
)


def joined_folder(config: Path) -> Path:
    """The folder of the site whose configuration was named.

    Raises:
        ConfigError: the configuration has another name, the site has not joined, or a folder lies in a file's place.
        TrustError: the invitation is damaged, or a key file is exposed, missing or of another kind.
    """
    folder = folder_of(config)
    load_enrolment(folder)
    for name in _FILES:
        if (folder / name).is_dir():
            raise ConfigError(
                f"{name} in the site's folder is a folder; a file belongs there.",
                remedy="Move it away, and restore the file from your backup.",
            )
    return folder
