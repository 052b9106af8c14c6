"""The evidence below the verdict: one section for each kind of thing that the ledger tells.

A further section is a function from the dossier to a `Section`, in its place in `SECTIONS`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from deploy.audit.examine import Notes
from deploy.audit.report.checked import journal_points, journal_section, privacy_section
from deploy.audit.report.dossier import MOST_ROWS, Dossier, Kept
from deploy.audit.report.section import Section
from deploy.audit.words import coordinators, counted, verdict
from shared.chain import Entry

_PLAIN, _MOST_PLAIN = 90, 12  # characters of a value, and parts of one
_DIGEST = re.compile(r"[0-9a-f]{64,128}")
_UNLISTED = {"head": "signed heads", "heads": "roots of all sites' heads", "model_received": "models received"}


def sections(dossier: Dossier) -> list[Section]:
    """All of them, in the order of the page."""
    return [make(dossier) for make in SECTIONS]


def _chain(dossier: Dossier) -> Section:
    found = dossier.findings
    facts = {
        "Verdict": verdict(found),
        "Ledger": f"{dossier.file}, {counted(found.entries, 'entry', 'entries')} that follow the rules",
        "From, to": f"{found.began} to {found.ended}, as the site says",
        "Signed": f"the first {found.signed:,} entries, by the last head that stands in the ledger",
        "Head of the last entry": found.head,
        "Signer": dossier.signer.name,
        "Fingerprint of the signer": dossier.signer.fingerprint,
        "Fingerprint of the coordinator": coordinators(dossier.signer) or "not known here",
    }
    return Section(
        "chain",
        "The chain and its keys",
        "Each entry holds the hash of the one before; heads are signed with the site's Ed25519 key. A key is the "
        "right one only if its fingerprint stands in the agreement that was signed on paper: compare it there.",
        ("what", "as found"),
        list(facts.items()),
    )


def _anchors(dossier: Dossier) -> Section:
    found = dossier.findings
    rows = [
        (anchor.source, _number(found.found.get(anchor)) or "not in this ledger", anchor.study or "", anchor.head)
        for anchor in found.anchors
    ]
    behind = ", ".join(f"{count} {kind}" for kind, count in found.behind.items())
    return Section(
        "anchors",
        "What others hold of it",
        "A chain alone cannot show that its end was not cut off. A head that lies with another party can.",
        ("who holds it", "entry", "study", "head"),
        rows,
        note=f"Behind the last of them, on the site's word alone: {behind}." if behind else "",
        none="No head of another party was given with --head.",
    )


def _studies(dossier: Dossier) -> Section:
    rows = [
        (
            *(name, f"{one.releases:,}", f"{one.updates:,}", f"{one.bytes:,}", f"{one.last_round:,}"),
            *(f"{one.refused:,}", ", ".join(f"{n} {what}" for what, n in sorted(one.receipts.items()))),
            "closed" if one.closed else "open",
        )
        for name, one in islice(dossier.findings.studies.items(), MOST_ROWS)
    ]
    columns = ("study", "releases", "updates", "bytes", "last round", "refused", "receipts", "state")
    more = len(dossier.findings.studies) - len(rows)
    note = f"{more:,} more are in the ledger." if more else ""
    return Section("studies", "Studies", "What left in each, added up from the releases.", columns, rows, note=note)


def _contracts(dossier: Dossier) -> Section:
    rows = [
        (
            *_place(entry),
            _said(entry, "study"),
            _agreed_by(entry),
            _said(entry, "contract"),
            _said(entry, "study_digest"),
        )
        for entry in dossier.contracts.first
    ]
    return Section(
        "contracts",
        "Contracts",
        "What the site agreed to release, before the study began, and by which line of its policy or whose word. The "
        "ledger names the contract by its digest; its text follows from the study, which is in the opening that the "
        "site kept, and from the software, floors and end in the same entry.",
        ("entry", "time", "study", "agreed by", "contract", "study's SHA-256"),
        rows,
        note=_cut(dossier.contracts),
    )


def _releases(dossier: Dossier) -> Section:
    rows = [
        (
            *(*_place(entry), _said(entry, "study"), _said(entry, "round"), _kind(entry), _said(entry, "bytes")),
            *(_said(entry, "body_digest"), _said(entry, "update_digest") or "none"),
        )
        for entry in dossier.releases.first
    ]
    return Section(
        "releases",
        "Every release",
        "Everything that left the site through its door, by its own word, in order: written down before it was sent. "
        'Answers that said "not yet" again and again stand in one line, with their number.',
        ("entry", "time", "study", "round", "kind", "bytes", "message's SHA-256", "update's SHA-256"),
        rows,
        note=_cut(dossier.releases),
    )


def _receipts(dossier: Dossier) -> Section:
    rows = [
        (
            *(*_place(entry), _said(entry, "study"), _said(entry, "round"), _said(entry, "outcome")),
            _said(entry, "update_digest") or "none",
        )
        for entry in dossier.receipts.first
    ]
    return Section(
        "receipts",
        "Receipts",
        "The coordinator's word on what became of each round's work, as the site wrote it down.",
        ("entry", "time", "study", "round", "outcome", "update's SHA-256"),
        rows,
        note=_cut(dossier.receipts),
    )


def _breaches(dossier: Dossier) -> Section:
    rows = [*_noted("breach", dossier.findings.breaches), *_noted("to be asked about", dossier.findings.remarks)]
    kept = len(rows)
    rows += journal_points(dossier)
    more = dossier.findings.breaches.count + dossier.findings.remarks.count - kept
    return Section(
        "breaches",
        "Breaches, and what should be asked about",
        "Entries that do not conform to what was agreed before them, those that a reader may want explained, and where "
        "a journal says something else.",
        ("entry", "kind", "what"),
        rows,
        note=f"{more:,} more are in the ledger." if more else "",
    )


def _refusals(dossier: Dossier) -> Section:
    rows = [
        (*_place(entry), _type(entry), _said(entry, "study"), _said(entry, "round"), _words(entry))
        for entry in dossier.refusals.first
    ]
    return Section(
        "refusals",
        "Refusals",
        "What the site said no to, what its door held back, and messages that were not its coordinator's.",
        ("entry", "time", "kind", "study", "round", "what"),
        rows,
        note=_cut(dossier.refusals),
    )


def _human(dossier: Dossier) -> Section:
    rows = [(*_place(entry), _type(entry), _said(entry, "study"), _words(entry)) for entry in dossier.human.first]
    return Section(
        "human",
        "What people did",
        "Entries that name a person who acted: the name is what that person typed, and proves nobody's identity.",
        ("entry", "time", "kind", "study", "what"),
        rows,
        note=_cut(dossier.human),
        none="No entry names a person.",
    )


def _software(dossier: Dossier) -> Section:
    rows = [(*_place(entry), _type(entry), _words(entry)) for entry in dossier.other.first]
    unknown = ", ".join(f"{word} ({times})" for word, times in dossier.findings.unknown.items())
    counts = ", ".join(f"{dossier.findings.types[word]:,} {_UNLISTED[word]}" for word in _UNLISTED)
    notes = (_cut(dossier.other), f"Only counted: {counts}.", f"Not known here: {unknown}." if unknown else "")
    return Section(
        "other",
        "Keys, software and all other entries",
        "Everything else that the ledger tells: studies put away, workers restarted, lines cut off, and kinds of entry "
        "that have no section of their own.",
        ("entry", "time", "kind", "what"),
        rows,
        note=" ".join(part for part in notes if part),
    )


SECTIONS: tuple[Callable[[Dossier], Section], ...] = (
    *(_chain, _anchors, journal_section, _studies, _contracts, _releases, _receipts),
    *(_breaches, _refusals, _human, privacy_section, _software),
)


def _place(entry: Entry) -> tuple[str, str]:
    return _number(entry.n), entry.time[:19].replace("T", " ")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _said(entry: Entry, name: str) -> str:
    value = entry.data.get(name)
    if type(value) is int:
        return _number(value)
    return "" if value is None else str(value)


def _type(entry: Entry) -> str:
    return entry.type.replace("_", " ")


def _kind(entry: Entry) -> str:
    if entry.type == "release_repeated":
        return f"{_said(entry, 'count')} times {_said(entry, 'refusal').replace('_', ' ')}"
    return " ".join(filter(None, (_said(entry, "kind"), _said(entry, "refusal").replace("_", " "))))


def _agreed_by(entry: Entry) -> str:
    return _said(entry, "person") or _said(entry, "approved_by") or ("a rehearsal" if entry.type == "rehearsal" else "")


def _words(entry: Entry) -> str:
    refusal = _said(entry, "refusal").replace("_", " ")
    if entry.type == "release":
        return f"answered at {_said(entry, 'stage')}: {refusal or 'no'}"
    if entry.type == "release_again":
        return f"at most {_said(entry, 'most')} more answers that say: {refusal}"
    return ", ".join(_pairs(entry.data.items()))


def _pairs(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for name, value in items:
        if name not in ("study", "round", "study_digest") and value not in (None, "", []):
            yield f"{name.replace('_', ' ')} {_plain(value)}"


def _plain(value: Any) -> str:
    """A value as a reader would write it; of a digest its beginning, which is enough to find it in the ledger."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return _short(", ".join(map(_plain, value[:_MOST_PLAIN])))
    if isinstance(value, dict):
        return _short(", ".join(f"{name} {_plain(one)}" for name, one in [*value.items()][:_MOST_PLAIN]))
    return _short(str(value))


def _short(text: str) -> str:
    longest = 16 if _DIGEST.fullmatch(text) else _PLAIN
    return text if len(text) <= longest else f"{text[:longest]}..."


def _cut(kept: Kept) -> str:
    more = kept.count - len(kept.first)
    return f"{more:,} more are in the ledger; the page holds the first {len(kept.first):,}." if more else ""


def _noted(kind: str, notes: Notes) -> list[tuple[str, ...]]:
    return [(_number(note.entry), kind, note.what) for note in notes.kept]
