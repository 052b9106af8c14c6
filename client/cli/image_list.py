"""`wardround site image-list`: show an auditor which images one study was opened with."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.image_lists import ImageLists
from client.join import load_enrolment
from client.person import By, named_person
from client.receipts import LEDGER_FILE
from client.site_folder import joined_folder
from client.waiting_entries import keep_entry, note_now
from shared.canonical import digest as sha256
from shared.console import Answer, answering, printable
from shared.durable import rename_durably, write_atomically
from shared.errors import ConfigError, naming_disk_full
from shared.image_list import ShownLists
from shared.ledger import read_entries

ENTRY = "image_list_shown"
_ANOTHER = "Name another file with --to."


@answering("site.image_list")
def image_list(
    study: Annotated[str, typer.Argument(help="The study, by name.")],
    *,
    to: Annotated[Path, typer.Option(help="The file to write, for the auditor's eyes alone.")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> Answer:
    """Show an auditor the list of a study's images, who holds it against the ledger; that too stands there."""
    from shared.clock import utc_now

    folder, name, now = joined_folder(config), named_person(by), utc_now()
    site, lists = load_enrolment(folder).invitation.site, ImageLists(folder)
    if to.exists():
        raise ConfigError(f"{to} exists already.", remedy=_ANOTHER)
    digest = _digest_of(folder / LEDGER_FILE, study)
    kept = tuple(data.decode(errors="replace") for data in lists.kept(digest))
    if not kept:
        raise ConfigError(f"No list of {study} lies here.", remedy="Restore image-lists/ from your backup.")
    shown = ShownLists(site=site, study=study, study_digest=digest, key=lists.key(digest).hex(), lists=kept)
    data = shown.encode()
    part = _written(to, data)
    try:  # it is recorded before it can be seen
        said = {"study": study, "study_digest": digest, "file_digest": sha256(data), "by": name, "shown": now}
        keep_entry(folder, ENTRY, said)
        rename_durably(part, to)
    finally:
        part.unlink(missing_ok=True)
    noted = note_now(folder, now=now)
    images = [text.count("\n") for text in kept]
    told = (
        f"{to} holds {len(kept)} list(s) of {study}, of {', '.join(map(str, images))} images: hashes of files and of\n"
        "patients, labels and splits. It is about patients: give it to the auditor alone, who checks it with\n"
        "`wardround audit image-list`.\n"
        + (f"The ledger says that {name} showed it." if noted else "The ledger will say so with the agent's next work.")
    )
    facts = {"file": str(to), "study": study, "study_digest": digest, "images": images, "by": name, "noted": noted}
    return Answer(facts, Text(printable(told)))


def _written(to: Path, data: bytes) -> Path:
    """The bytes, beside where they shall be seen."""
    part = to.with_name(f".{to.name}.part")
    try:
        with naming_disk_full():
            write_atomically(part, data, mode=0o600)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written ({error.strerror}); nothing was shown.", remedy=_ANOTHER) from None
    return part


def _digest_of(ledger: Path, study: str) -> str:
    """Of the study of this name as it was opened last."""
    entries = read_entries(ledger) if ledger.is_file() else ()
    found = [entry.data["study_digest"] for entry in entries if _names(entry.type, entry.data.get("study"), study)]
    if not found:
        raise ConfigError(f"The ledger holds no list of {study}.", remedy="See the ledger for the studies opened here.")
    return str(found[-1])


def _names(kind: str, named: object, study: str) -> bool:
    return kind == "cohort_manifest" and named == study
