"""The page's verdict in three colours: what is proven, what the site declares, and what nothing here covers.

Proven is what follows from the chain, its signatures and the heads that others hold, whoever wrote the ledger.
Declared is what the site alone signs. What stands between them goes to the weaker side.
"""

from dataclasses import dataclass
from typing import Literal

from deploy.audit.losses import in_words
from deploy.audit.report.dossier import Dossier
from deploy.audit.words import counted

Standing = Literal["proven", "declared", "open", "broken"]
TITLES: dict[Standing, str] = {
    "broken": "Does not hold",
    "proven": "Proven",
    "declared": "Declared by the site alone",
    "open": "Not covered",
}
BELOW: dict[Standing, str] = {
    "broken": "What the evidence contradicts.",
    "proven": "Follows from the entries, their signatures and what other parties hold, whoever wrote them.",
    "declared": "Stands in the ledger under the site's signature; nobody else bears witness to it.",
    "open": "Nothing in this evidence says anything about it.",
}


@dataclass(frozen=True)
class Claim:
    """One sentence, how far it can be relied upon, and the section of the page that carries it, if any."""

    standing: Standing
    text: str
    section: str = ""


def claims(dossier: Dossier) -> list[Claim]:
    """Every claim of the verdict page, the weightiest first."""
    return [*_chain(dossier), *_agreed(dossier), *_declared(dossier), *_OPEN]


def _chain(dossier: Dossier) -> list[Claim]:
    found = dossier.findings
    entries = counted(found.entries, "entry", "entries")
    if found.broken is not None or not found.entries:
        broken = f"The ledger is broken at line {found.entries + 1}; nothing from there on can be relied upon."
        return [Claim("broken", broken, "chain")]
    if not found.signed:
        return [Claim("broken", f"Nobody signed any of the {entries}.", "chain")]
    signed = counted(found.signed, "entry is", "entries are")
    said = [Claim("proven", f"{signed} as {dossier.signer.name}'s key signed them: none changed, in order.", "chain")]
    for anchor in found.missing:
        said.append(Claim("broken", f"The head that {anchor.source} holds is not in this ledger.", "anchors"))
    for loss in found.lost:
        text = f"A{in_words(loss.tail)[1:]} by {loss.by}: what stood there nobody can say."
        said.append(Claim("declared", text, "human"))
    if found.anchored:
        holder = next(anchor.source for anchor, n in found.found.items() if n == found.anchored)
        said.append(
            Claim("proven", f"None of the first {found.anchored:,} was left out: {holder} holds their head.", "anchors")
        )
    if not found.end_anchored:
        behind = found.entries - found.anchored
        rest = (
            f"The last {counted(behind, 'entry', 'entries')} could have been cut or written anew by the site itself: "
        )
        said.append(Claim("declared", rest + "no other party's head covers the end.", "anchors"))
    return said


def _agreed(dossier: Dossier) -> list[Claim]:
    found = dossier.findings
    if found.breaches.count:
        what = counted(found.breaches.count, "entry breaks", "entries break")
        return [Claim("broken", f"{what} what had been agreed before.", "breaches")]
    if not dossier.releases.count or not found.signed:
        return []
    size = sum(account.bytes for account in found.studies.values())
    return [
        Claim(
            "proven",
            f"The ledger names {counted(dossier.releases.count, 'release', 'releases')} of {size:,} bytes in all, each "
            "but a refusal under a contract agreed before it, by kind, round, size and digest.",
            "releases",
        )
    ]


def _declared(dossier: Dossier) -> list[Claim]:
    said = [
        Claim("declared", "Everything that left was written down: the software writes before it sends.", "releases"),
        Claim("declared", "Each release held what its contract allows; the site's door checked it.", "contracts"),
        Claim("declared", "The times: each party's own clock.", "chain"),
    ]
    if dossier.spent:
        worst = max(epsilon for epsilon, _, _ in dossier.epsilons().values())
        text = f"Training was private, at most epsilon {rounded_up(worst)} in one study for one patient: added up here "
        said.append(Claim("declared", text + "from the charges that the site wrote down.", "privacy"))
    return said


def rounded_up(epsilon: float) -> str:
    """An epsilon with two decimals, never below what it is."""
    return f"{-(-epsilon * 100 // 1) / 100:.2f}"


_OPEN = [
    Claim("open", "Whether the site ran the software that it names, unchanged."),
    Claim("open", "Whether the images, labels and patients were what the study asked for."),
    Claim("open", "What an update or a model gives away about a patient, beyond the epsilon that stands here."),
    Claim("open", "Whether what left arrived and was added up rightly: that is the coordinator's journal."),
    Claim("open", "The legal basis, consent, and whether any law is complied with."),
]
