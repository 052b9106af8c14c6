"""What was found, in words: the verdict first, then the facts that carry it, for 80 columns and for programs."""

from dataclasses import asdict
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.examine import Findings, Notes
from deploy.audit.keys import Signer, shown
from deploy.audit.losses import in_words
from shared.console import facts, printable, table
from shared.errors import TrustError, WardroundError
from shared.heads import Head

ANCHORED, OPEN_END = "consistent and anchored", "consistent, end not anchored"
UNSIGNED = "unsigned: no head stands in it, so nobody vouches for any entry"
_SHOWN, _STUDIES = 5, 20  # breaches, remarks and studies on a page; --json has more


def verdict(found: Findings) -> str:
    """One line."""
    if found.broken is not None or found.entries == 0:
        return f"broken at line {found.entries + 1}: {_why_broken(found)}"
    if found.signed == 0:
        return UNSIGNED
    held = "; ".join([ANCHORED if found.end_anchored else OPEN_END, *(in_words(one.tail) for one in found.lost)])
    breaches = counted(found.breaches.count, "entry breaks", "entries break")
    return f"{held}; {breaches} what was agreed" if found.breaches.count else held


def failure(found: Findings) -> WardroundError | None:
    """Why the answer to the auditor's question is no, if it is."""
    if found.broken is not None:
        return type(found.broken)(
            f"The ledger is broken at line {found.entries + 1}: {_why_broken(found)}.", remedy=found.broken.remedy
        )
    if found.signed == 0:
        return TrustError(
            "Nothing in the ledger is signed; anybody could have written it.",
            remedy="Ask the site for its ledger after a round was receipted, or after its agent was stopped.",
        )
    if found.missing:
        return TrustError(
            f"The head that {found.missing[0].source} holds is not in this ledger: {_why_missing(found)}.",
            remedy="Ask the site for the whole ledger, and the holder of the head whose it is and since when.",
        )
    if found.breaches.count:
        first = found.breaches.kept[0]
        return TrustError(
            f"Entry {first.entry} breaks what was agreed: {first.what}.",
            remedy="Ask the site and the coordinator what happened there; the ledger itself holds.",
        )
    return None


def _why_missing(found: Findings) -> str:
    entry = found.missing[0].entry
    if entry is None:
        return "entries were cut off or written anew, or the head is another ledger's"
    lost = next((one for one in found.lost if one.tail.covers(Head(n=entry, hash=found.missing[0].head))), None)
    if lost is not None:
        return f"it is entry {entry}, of a tail that {printable(lost.by)} has declared lost (entry {lost.entry})"
    if entry > found.entries:
        return f"it is entry {entry}, and the ledger ends at {found.entries}; its end was cut off or rolled back"
    return f"entry {entry} is another one; the ledger was written anew there or before"


def data(found: Findings, signer: Signer, *, seconds: float) -> dict[str, Any]:
    """The same for a program."""
    return {
        "verdict": verdict(found),
        "consistent": found.broken is None and found.signed > 0,
        "anchored": found.end_anchored,
        "conforms": found.breaches.count == 0,
        "first_bad_line": found.entries + 1 if found.broken or not found.entries else None,
        "reason": _why_broken(found) if found.broken or not found.entries else "",
        "signer": signer.name,
        "fingerprint": signer.fingerprint,
        "coordinator_fingerprint": coordinators(signer),
        "entries": found.entries,
        "head": found.head,
        "signed_entries": found.signed,
        "anchored_entries": found.anchored,
        "first_missing_entry": min((a.entry for a in found.missing if a.entry is not None), default=None),
        "anchors": [asdict(anchor) | {"entry": found.found.get(anchor)} for anchor in found.anchors],
        "behind_anchor": dict(found.behind),
        "began": found.began,
        "ended": found.ended,
        "types": dict(found.types),
        "unknown": dict(found.unknown),
        "breaches": _noted(found.breaches),
        "remarks": _noted(found.remarks),
        "lost": [{"declared_at": one.entry, "by": one.by, **one.tail.model_dump()} for one in found.lost],
        "studies": [{"study": name} | _account(account) for name, account in found.studies.items()],
        "seconds": round(seconds, 3),
    }


def page(found: Findings, signer: Signer, *, file: str, seconds: float) -> RenderableType:
    """For a person."""
    style = "bold red" if failure(found) else "bold green" if found.end_anchored and not found.lost else "bold"
    about = {
        "Ledger": f"{file}: {counted(found.entries, 'entry', 'entries')}{_when(found)}",
        "Signer": f"{signer.name}, fingerprint {signer.fingerprint}{_journals(found, signer)}",
        "Signed": _signed(found),
        "Anchored": _anchored(found),
        "Releases": _conformity(found),
        "Unknown": ", ".join(f"{word} ({times})" for word, times in found.unknown.items()),
        "Checked": f"in {seconds:.2f} s",
    }
    parts: list[RenderableType] = [
        Text(printable(verdict(found)), style=style),
        Text(),
        facts({name: text for name, text in about.items() if text}),
    ]
    if found.studies:
        parts += [Text(), _studies(found)]
    for title, notes in (("Breaches", found.breaches), ("To be asked about", found.remarks)):
        parts += _listed(title, notes)
    return Group(*parts)


def _why_broken(found: Findings) -> str:
    if found.broken is None:
        return "there is no entry"
    what = found.broken.what.rstrip(".")
    return what[:1].lower() + what[1:]


def _when(found: Findings) -> str:
    return f",\n{found.began[:19]} to {found.ended[:19]} UTC, as the site says" if found.entries else ""


def _journals(found: Findings, signer: Signer) -> str:
    """Whose signature the journals among the anchors carry, and what to do with fingerprints."""
    if not any(anchor.study for anchor in found.anchors):
        return "\n(compare it with the signed site agreement)"
    return f"\nthe journals' coordinator, {coordinators(signer)}\n(compare both with the signed site agreement)"


def coordinators(signer: Signer) -> str | None:
    """The fingerprint of the coordinator's key, where it is known."""
    return None if signer.coordinator is None else shown(signer.coordinator)


def _signed(found: Findings) -> str:
    if found.signed == found.entries > 0 and not found.broken:
        return "to its end"
    return f"the first {found.signed} of {found.entries} entries"


def _anchored(found: Findings) -> str:
    if not found.anchors:
        return "nothing: name what others hold with --head;\n`wardround audit anchors` says what to ask of whom"
    lines = [f"the first {n} entries, by {anchor.source}" for anchor, n in [*found.found.items()][-_SHOWN:]]
    missing = "not before that line" if found.broken else "not in it"
    lines += [f"{missing}: the head that {anchor.source} holds" for anchor in found.missing[:_SHOWN]]
    if found.broken:
        return "\n".join(lines)
    if found.behind:
        rest = ", ".join(f"{count} {kind}" for kind, count in found.behind.items())
        lines.append(f"behind that the site's word alone: {rest}")
    elif found.signed < found.entries:
        lines.append("behind that an end that is not signed")
    elif not found.end_anchored and not found.missing:
        lines.append("behind that nothing, though the head left with a release")
    return "\n".join(lines)


def _conformity(found: Findings) -> str:
    if not found.studies:
        return ""
    until = " up to that line" if found.broken else ""
    return f"{found.breaches.count or 'none'} of the entries{until} breaks what was agreed before it"


def _studies(found: Findings) -> RenderableType:
    columns = ("study", "contracts", "releases", "updates", "bytes", "last round", "refused", "state")
    rows = (
        (
            *(name, len(one.contracts), one.releases, one.updates, f"{one.bytes:,}", one.last_round, one.refused),
            "closed" if one.closed else "open",
        )
        for name, one in islice(found.studies.items(), _STUDIES)
    )
    more = len(found.studies) - _STUDIES
    return Group(table(columns, rows), *([Text(f"and {more} more studies; --json lists them")] if more > 0 else []))


def _listed(title: str, notes: Notes) -> list[RenderableType]:
    if not notes.count:
        return []
    lines = {f"entry {note.entry}": note.what for note in notes.kept[:_SHOWN]}
    more = f"and {notes.count - _SHOWN} more; --json lists them" if notes.count > _SHOWN else ""
    return [Text(f"\n{title}", style="bold"), facts(lines), *([Text(more)] if more else [])]


def _noted(notes: Notes) -> dict[str, Any]:
    return {"count": notes.count, "first": [asdict(note) for note in notes.kept]}


def _account(account: Any) -> dict[str, Any]:
    said = asdict(account)
    return {**said, "contracts": sorted(account.contracts), "receipts": dict(account.receipts)}


def counted(number: int, one: str, many: str) -> str:
    """A number and its noun, in the one form or the other."""
    return f"{number:,} {one if number == 1 else many}"
