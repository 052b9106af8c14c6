"""The page's verdict in three colours: what is proven, what one side declares, and what nothing here covers.

What follows from the ledger and the heads that others hold is said here; what `audit reconcile` and `audit budget`
found, in `checked.py`.
"""

from deploy.audit.losses import in_words
from deploy.audit.report.checked import budget_claims, journal_claims
from deploy.audit.report.claim import Claim
from deploy.audit.report.dossier import Dossier
from deploy.audit.words import counted, failure, verdict
from shared.errors import TrustError, WardroundError


def claims(dossier: Dossier) -> list[Claim]:
    """Every claim of the verdict page, the weightiest first."""
    checked = [*journal_claims(dossier), *budget_claims(dossier)]
    return [*_chain(dossier), *_agreed(dossier), *checked, *_DECLARED, *_OPEN]


def headline(dossier: Dossier) -> str:
    """The ledger's own verdict, and whether what was laid beside it contradicts it."""
    held = verdict(dossier.findings)
    return held if failure(dossier.findings) or not _contradictions(dossier) else f"{held}, and contradicted"


def in_plain_words(dossier: Dossier) -> str:
    """What the headline means to who has never seen a ledger."""
    found = dossier.findings
    if found.broken is not None or not found.entries:
        return "The file is not what the site wrote: nothing from that line on can be relied upon."
    if not found.signed:
        return "Anybody could have written this file: nobody's signature stands in it."
    if _contradictions(dossier):
        return "What others hold, or the ledger itself, contradicts it. Each such point stands first below."
    if found.end_anchored:
        return "Nothing was changed, cut or put in since another party got hold of the ledger's end."
    return "The file is what the site signed. That its end was not cut or written anew is the site's own word."


def report_failure(dossier: Dossier) -> WardroundError | None:
    """Why the answer to the auditor's question is no, if it is."""
    error, contradictions = failure(dossier.findings), _contradictions(dossier)
    if error is not None or not contradictions:
        return error
    return TrustError(contradictions[0].text, remedy="The page names each such point; ask both sides.")


def _contradictions(dossier: Dossier) -> list[Claim]:
    return [claim for claim in claims(dossier) if claim.standing == "broken"]


def _chain(dossier: Dossier) -> list[Claim]:
    found = dossier.findings
    entries = counted(found.entries, "entry", "entries")
    if found.broken is not None or not found.entries:
        broken = f"The ledger is broken at line {found.entries + 1}; nothing from there on can be relied upon."
        return [Claim("broken", broken, "chain")]
    if not found.signed:
        return [Claim("broken", f"Nobody signed any of the {entries}.", "chain")]
    signed = counted(found.signed, "entry is", "entries are")
    whose = dossier.signer.name
    said = [
        Claim("proven", f"{signed} as {whose}'s key signed them: none changed since, and in order.", "chain"),
        Claim("open", f"Whether the keys are {whose}'s and the coordinator's: {_COMPARE}.", "chain"),
    ]
    for anchor in found.missing:
        said.append(Claim("broken", f"The head that {anchor.source} holds is not in this ledger.", "anchors"))
    for loss in found.lost:
        text = f"A{in_words(loss.tail)[1:]} by {loss.by}: what stood there nobody can say."
        said.append(Claim("declared", text, "human"))
    if found.anchored:
        holder = next(anchor.source for anchor, n in found.found.items() if n == found.anchored)
        text = f"None of the first {found.anchored:,} was changed, cut or put in later: {holder} holds their head."
        said.append(Claim("proven", text, "anchors"))
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
    studies = found.studies.values()
    size, left = sum(account.bytes for account in studies), sum(account.releases for account in studies)
    return [
        Claim(
            "proven",
            f"The ledger names {counted(left, 'release', 'releases')} of {size:,} bytes in all, each but a refusal "
            "behind the contract that it is under.",
            "releases",
        )
    ]


_COMPARE = "compare both fingerprints with the agreement that was signed on paper"
_DECLARED = (
    Claim("declared", "Everything that left was written down: the software writes before it sends.", "releases"),
    Claim("declared", "Each release held what its contract allows; the site's door checked it.", "contracts"),
    Claim("declared", "The times: each party's own clock.", "chain"),
)
_OPEN = (
    Claim("open", "Whether the site ran the software that it names, unchanged."),
    Claim("open", "Whether the images, labels and patients were what the study asked for."),
    Claim("open", "What an update or a model gives away about a patient, beyond an epsilon that stands here."),
    Claim("open", "The legal basis, consent, and whether any law is complied with."),
)
