"""Which lists of images were shown to an auditor, by whom and when: an act of a person, which the ledger has to say.

`image-list-shown.jsonl` holds a line for each that the ledger does not say yet. The ledger is its one writer's: where
the agent runs, the agent writes the entry, when it starts or before its next piece of work. An entry that a crash lets
stand twice is one showing; none is lost. A damaged file stops no study: it waits for the next who shows a list.
"""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from client.person import Person
from shared.chain import Entry
from shared.durable import locked, write_atomically
from shared.errors import TrustError
from shared.fields import Digest, Name
from shared.ledger import Ledger
from shared.section import Section

FILE_NAME = "image-list-shown.jsonl"
ENTRY = "image_list_shown"


class Showing(Section):
    """One: `file_digest` is the SHA-256 (hex) of the file that was written for it, `shown` when (RFC 3339, UTC)."""

    study: Name
    study_digest: Digest
    file_digest: Digest
    by: Person
    shown: Annotated[str, Field(max_length=40)]


def keep_showing(folder: Path, showing: Showing) -> None:
    """Keep it for the ledger of the site in `folder`; on the disk when this returns.

    Raises:
        TrustError: what is kept already is damaged.
    """
    with locked(folder):
        _write(folder, [*_kept(folder), showing])


def note_showings(folder: Path, ledger: Ledger, *, time: str) -> list[Entry]:
    """Write down in the ledger what it does not say yet.

    Raises:
        DiskFull: there is no room.
    """
    if not (folder / FILE_NAME).exists():
        return []
    with locked(folder), suppress(TrustError):
        entries = [ledger.append(ENTRY, one.model_dump(mode="json"), time=time) for one in _kept(folder)]
        (folder / FILE_NAME).unlink()
        return entries
    return []


def _kept(folder: Path) -> list[Showing]:
    path = folder / FILE_NAME
    try:
        return [Showing.model_validate_json(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    except ValidationError:
        raise TrustError(
            f"{FILE_NAME} is damaged.", remedy="Restore it from your backup; it says what was shown to auditors."
        ) from None


def _write(folder: Path, showings: list[Showing]) -> None:
    lines = (one.model_dump_json() + "\n" for one in showings)
    write_atomically(folder / FILE_NAME, "".join(lines).encode(), mode=0o600)
