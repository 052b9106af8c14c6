"""The format of a folder that a site or the federation keeps: one number for all the files in it, in `format.json`.

The number rises when older software would misread a file there, or pass over it. A folder of an older format is
opened, and so is one without the file, which is format 1; one of a newer format is refused before anything in it is
read, because software that went on would spend a budget or sign a ledger that it does not understand.
"""

import json
from pathlib import Path
from typing import Final

from shared.canonical import canonical
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.version import VERSION

FOLDER_FORMAT: Final = 1
FILE_NAME: Final = "format.json"
_LONGEST = 4096  # bytes


def mark_folder(folder: Path) -> None:
    """Say which format a new folder has, and which version made it."""
    write_atomically(folder / FILE_NAME, canonical({"format": FOLDER_FORMAT, "wardround": VERSION}) + b"\n")


def insist_on_format(folder: Path) -> None:
    """Whether this software can open a folder.

    Raises:
        ConfigError: its format is newer, or the file that says it is damaged.
    """
    try:
        with (folder / FILE_NAME).open("rb") as file:
            said = json.loads(file.read(_LONGEST))
        found, version = said["format"], str(said["wardround"])
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, LookupError, TypeError):
        found, version = 0, ""
    if type(found) is not int or found < 1:
        raise ConfigError(f"{FILE_NAME} in {folder} is damaged.", remedy="Restore it from your backup.")
    if found > FOLDER_FORMAT:
        theirs = f"Wardround {ascii(version[:32])[1:-1]}"
        raise ConfigError(
            f"{folder} has format {found}, of {theirs}; this is Wardround {VERSION}, which reads {FOLDER_FORMAT}.",
            remedy=f"Install {theirs} or later again, or go back as docs/upgrade.md says.",
        )
