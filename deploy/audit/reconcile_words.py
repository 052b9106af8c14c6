"""What laying the two sides beside each other showed, in words: the verdict first, for 80 columns and for programs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.losses import in_words
from deploy.audit.reconcile import Discrepancy, Reconciliation
from shared.console import facts, printable, table
from shared.errors import TrustError

MEANINGS = {
    "unsigned": "Who handed the file over could have written these; ask for it again after the next round.",
    "root": "The sites were not all told of the same heads, so one may have been shown another history.",
    "head": "The ledger was rolled back, cut or written anew since the coordinator heard of it.",
    "head_lost": "It was of an end of the ledger that the site has declared lost.",
    "release_lost": "It may have stood in an end of the ledger that the site has declared lost.",
    "loss": "A loss that was declared is missing in one of the books.",
    "model": "This site worked on a model that the journal does not give for the round.",
    "bytes": "More or less left than arrived: an entry, or the journal, is not what happened.",
    "unknown_update": "What left this site is missing in the journal.",
    "not_admitted": "The journal counts work that it never let in.",
    "never_left": "The journal counts an update that this site never released under that digest.",
    "receipt": "The coordinator told the site one thing, and wrote down another.",
    "traffic": "Bytes left this site that its ledger does not explain.",
    "not_sent": "Answers that waited for the line, or that nobody wanted any more, look like this.",
    "not_received": "A line that broke looks like this; the update was not counted.",
    "round_open": "A study that was stopped, or failed, in the round looks like this; the update was not counted.",
}
_SHOWN = 12  # discrepancies on a page; --json has all


def verdict(found: Reconciliation) -> str:
    """One line."""
    if not found.agrees:
        number = len(found.discrepancies)
        return f"the books do not agree: {number} {'discrepancy' if number == 1 else 'discrepancies'}"
    if found.lost:
        return f"the books agree, but for what is lost of the ledger of {', '.join(found.lost)}"
    if not found.signed:
        return "the books agree, and not all of them is signed"
    return "the books agree" if not found.missing else "the books agree, as far as ledgers are there"


def failure(found: Reconciliation) -> TrustError | None:
    """Why the answer to the auditor's question is no, if it is."""
    if found.agrees:
        return None
    first = found.discrepancies[0]
    return TrustError(
        f"{_where(first)}: {first.what}. {MEANINGS[first.code]}",
        remedy="Ask the site and the coordinator for what each holds of it, and verify both files.",
    )


def data(found: Reconciliation) -> dict[str, Any]:
    """The same for a program."""
    return {
        "verdict": verdict(found),
        "agrees": found.agrees,
        "study": found.study,
        "sites": [asdict(account) for account in found.accounts],
        "rounds": [{"round": n, "counted": one, "confirmed": two} for n, (one, two) in found.rounds.items()],
        "drawn": {str(number): list(sites) for number, sites in found.drawn.items()},
        "discrepancies": _listed(found.discrepancies),
        "open_points": _listed(found.open_points),
        "lost": {site: [loss.model_dump() for loss in losses] for site, losses in found.lost.items()},
        "missing_ledgers": list(found.missing),
    }


def page(found: Reconciliation, *, models: str) -> RenderableType:
    """For a person; `models` says what came of making the study's models again."""
    rows = ((one.site, one.updates, f"{one.bytes:,}", f"{one.received:,}", one.counted) for one in found.accounts)
    counted = sum(one for one, _ in found.rounds.values())
    confirmed = sum(two for _, two in found.rounds.values())
    about = {
        "Study": found.study,
        "Rounds": f"{len(found.rounds)} committed; {confirmed} of {counted} counted updates are in a ledger",
        "Drawn": _drawn(found),
        "Lost": "\n".join(f"{site}: {in_words(loss)}" for site, losses in found.lost.items() for loss in losses),
        "No ledger of": ", ".join(found.missing),
        "Models": models,
    }
    parts: list[RenderableType] = [
        Text(verdict(found), style="bold red" if not found.agrees else "bold" if found.lost else "bold green"),
        Text(),
        facts({name: printable(text) for name, text in about.items() if text}),
        Text(),
        table(("site", "updates", "bytes left", "bytes arrived", "counted"), rows),
    ]
    for title, points in (("Discrepancies", found.discrepancies), ("Open points", found.open_points)):
        parts += _told(title, points)
    return Group(*parts)


def _drawn(found: Reconciliation) -> str:
    """Whom the rounds asked, where they did not ask the whole cohort."""
    lines = [f"round {number} asked {', '.join(sites)} alone" for number, sites in [*found.drawn.items()][:_SHOWN]]
    more = len(found.drawn) - len(lines)
    return "\n".join([*lines, *([f"and {more} more rounds; --json lists them"] if more else [])])


def _told(title: str, points: tuple[Discrepancy, ...]) -> list[RenderableType]:
    if not points:
        return []
    lines = [Text(printable(f"{_where(one)}: {one.what}\n  {MEANINGS[one.code]}")) for one in points[:_SHOWN]]
    more = [Text(f"and {len(points) - _SHOWN} more; --json lists them")] if len(points) > _SHOWN else []
    return [Text(f"\n{title}", style="bold"), *lines, *more]


def _where(one: Discrepancy) -> str:
    who = one.site or "The journal"
    return f"{who}, round {one.round}" if one.round else who


def _listed(points: Iterable[Discrepancy]) -> list[dict[str, Any]]:
    return [asdict(one) | {"means": MEANINGS[one.code]} for one in points]
