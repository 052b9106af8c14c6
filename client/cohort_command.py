"""`wardround site cohort`: show an auditor which images one study was opened with."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from client.cohort_lists import CohortLists
from client.join import load_enrolment
from client.receipts import LEDGER_FILE
from client.settings import folder_of
from shared.cohort_list import Opening
from shared.console import Answer, answering, printable
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.ledger import read_entries


@answering("site.cohort")
def cohort(
    study: Annotated[str, typer.Argument(help="The study, by name.")],
    *,
    to: Annotated[Path, typer.Option(help="The file to write, for the auditor's eyes alone.")],
    config: Annotated[Path, typer.Option("--config", help="The site's configuration file.")] = Path("site.toml"),
) -> Answer:
    """Open the list of a study's images to an auditor, who holds it against the ledger."""
    folder = folder_of(config)
    site, lists = load_enrolment(folder).invitation.site, CohortLists(folder)
    if to.exists():
        raise ConfigError(f"{to} exists already.", remedy="Name another file with --to.")
    digest = _digest_of(folder / LEDGER_FILE, study)
    kept = tuple(data.decode(errors="replace") for data in lists.kept(digest))
    if not kept:
        raise ConfigError(f"No list of {study} lies here.", remedy="Restore cohort-lists/ from your backup.")
    opening = Opening(site=site, study=study, study_digest=digest, key=lists.key(digest).hex(), lists=kept)
    write_atomically(to, opening.encode(), mode=0o600)
    images = [text.count("\n") for text in kept]
    told = (
        f"{to} holds {len(kept)} list(s) of {study}, of {', '.join(map(str, images))} images: hashes of files and of\n"
        "patients, labels and splits. It is about patients: give it to the auditor alone, who checks it with\n"
        "`wardround audit cohort`."
    )
    return Answer({"file": str(to), "study": study, "study_digest": digest, "images": images}, Text(printable(told)))


def _digest_of(ledger: Path, study: str) -> str:
    """Of the study of this name as it was opened last."""
    entries = read_entries(ledger) if ledger.is_file() else ()
    found = [entry.data["study_digest"] for entry in entries if _names(entry.type, entry.data.get("study"), study)]
    if not found:
        raise ConfigError(f"The ledger holds no list of {study}.", remedy="See the ledger for the studies opened here.")
    return str(found[-1])


def _names(kind: str, named: object, study: str) -> bool:
    return kind == "cohort_manifest" and named == study
