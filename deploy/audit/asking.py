"""What an auditor has to ask of whom, before a site's ledger shows more than the site's own word."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.chain import HEAD, Entry


@dataclass(frozen=True)
class Question:
    """Something that another party holds.

    `entry` and `head` are what it should hold; None where it is a key, or where nothing is held yet.
    """

    whom: str
    what: str
    entry: int | None = None
    head: str | None = None


def questions(entries: Iterable[Entry]) -> list[Question]:
    """What to ask about a ledger, whose heads need not be checked for that."""
    site, closing, opened, heads = "the site", "", [], {}
    for entry in entries:
        study = str(entry.data.get("study"))
        if entry.type == "contract" and study not in opened:
            opened.append(study)
        elif entry.type == "study_closed":
            closing = study
        elif entry.type == HEAD:
            site = str(entry.data.get("signer"))
            if closing:
                heads[closing] = entry
        closing = closing if entry.type == "study_closed" else ""
    return [
        Question(site, "its ledger and its key card (`wardround site ledger --to FOLDER`)"),
        Question("whoever keeps the signed agreement", f"the fingerprints of {site} and of the coordinator in it"),
        *(_journal(study, heads.get(study)) for study in opened),
    ]


def _journal(study: str, head: Entry | None) -> Question:
    if head is None:
        return Question("nobody yet", f"{study} is not closed, so no other party holds a head of it")
    return Question("the coordinator", f"the journal.jsonl of {study}", head.n, head.hash)
