"""What holding a list of images against a ledger showed, in words: for 80 columns and for programs."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.image_lists import Held
from shared.console import facts, printable, table
from shared.errors import TrustError

_SPLITS = ("train", "validation", "test")


def list_verdict(found: Held) -> str:
    """One line."""
    if found.foreign:
        return "the list is another site's"
    if not found.lists:
        return "no list is shown"
    if any(one.entry is None for one in found.lists):
        return "the list is not the one that the ledger holds"
    return "the list is the one that the ledger holds" if found.agrees else "a list that the ledger holds is not shown"


def list_failure(found: Held) -> TrustError | None:
    """Why the answer is no, if it is."""
    if found.agrees:
        return None
    words = list_verdict(found)
    missing = f" (entry {found.missing[0]})" if found.missing else ""
    return TrustError(f"{words[0].upper()}{words[1:]}{missing}.", remedy="Ask the site which images it trained on.")


def list_data(found: Held) -> dict[str, Any]:
    """For a program."""
    return {"verdict": list_verdict(found), "agrees": found.agrees} | asdict(found)


def list_page(found: Held) -> RenderableType:
    """For a person."""
    rows = [
        (one.entry or "none", split, one.images.get(split, 0), one.patients.get(split, 0))
        for one in found.lists
        for split in _SPLITS
    ]
    return Group(
        Text(list_verdict(found), style="bold green" if found.agrees else "bold red"),
        Text(),
        facts({"Study": printable(found.study), "Digest": found.study_digest, "Shown": _told(found)}),
        Text(),
        table(("entry", "split", "images", "patients"), rows),
        Text("\nWhat the images show, and who the patients are, stays at the site."),
    )


def _told(found: Held) -> str:
    if found.told is None:
        return "this ledger does not say yet that it was; ask for a newer one"
    return f"entry {found.told} says by whom and when"
