"""What holding a list of images against a ledger showed, in words: for 80 columns and for programs."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.cohorts import Shown
from shared.console import facts, printable, table
from shared.errors import TrustError

_SPLITS = ("train", "validation", "test")


def cohort_verdict(shown: Shown) -> str:
    """One line."""
    if shown.foreign:
        return "the list is another site's"
    if not shown.lists:
        return "no list is shown"
    if any(one.entry is None for one in shown.lists):
        return "the list is not the one that the ledger holds"
    return "the list is the one that the ledger holds" if shown.agrees else "a list that the ledger holds is not shown"


def cohort_failure(shown: Shown) -> TrustError | None:
    """Why the answer is no, if it is."""
    if shown.agrees:
        return None
    words = cohort_verdict(shown)
    missing = f" (entry {shown.missing[0]})" if shown.missing else ""
    return TrustError(f"{words[0].upper()}{words[1:]}{missing}.", remedy="Ask the site which images it trained on.")


def cohort_data(shown: Shown) -> dict[str, Any]:
    """For a program."""
    return {"verdict": cohort_verdict(shown), "agrees": shown.agrees} | asdict(shown)


def cohort_page(shown: Shown) -> RenderableType:
    """For a person."""
    rows = [
        (one.entry or "none", split, one.images.get(split, 0), one.patients.get(split, 0))
        for one in shown.lists
        for split in _SPLITS
    ]
    return Group(
        Text(cohort_verdict(shown), style="bold green" if shown.agrees else "bold red"),
        Text(),
        facts({"Study": printable(shown.study), "Digest": shown.study_digest, "Shown": _told(shown)}),
        Text(),
        table(("entry", "split", "images", "patients"), rows),
        Text("\nWhat the images show, and who the patients are, stays at the site."),
    )


def _told(shown: Shown) -> str:
    if shown.told is None:
        return "this ledger does not say yet that it was; ask for a newer one"
    return f"entry {shown.told} says by whom and when"
