"""What an auditor may say of a ledger: one pass over its lines, whatever its length.

In this order, and no further than the first line that breaks the chain:

1. every line follows the rules of `shared/chain.py`, and every head is signed by the ledger's own key;
2. every release conforms to what was agreed (`deploy/audit/releases.py`), and every result that went into a PACS to
   what was signed for it (`deploy/audit/storings.py`); breaches break no chain;
3. the heads that others hold are entries of it, and what stands behind the last of them is nothing but the
   release that carried that head to its holder, and further heads, the last entry one of them.

The three together are "consistent and anchored". What the ledger itself declares lost of its end is said with every
verdict; a head of that end that others hold is missing all the same. Memory is bounded by the number of studies and of
models that were signed for.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deploy.audit.anchors import Anchor
from deploy.audit.keys import Signer
from deploy.audit.losses import TAIL_LOST, read_loss
from deploy.audit.releases import Releases, StudyAccount
from deploy.audit.storings import Storings
from deploy.audit.vocabulary import unknown_in
from shared.chain import HEAD, NO_ENTRY, Entry, verified
from shared.errors import NOT_YET, TrustError
from shared.heads import LostTail
from shared.identity import COORDINATOR

_NOT_YET = [code.value for code in NOT_YET]  # a list: what a ledger says may be of any type
MOST_KEPT = 100  # of breaches, of remarks and of unknown words; beyond that they are only counted


@dataclass(frozen=True)
class Note:
    """A word on one entry."""

    entry: int
    what: str


@dataclass(frozen=True)
class Loss:
    """What a ledger declares lost of its own end; `entry` is the declaration's own, `by` who made it."""

    entry: int
    by: str
    tail: LostTail


@dataclass
class Notes:
    """Words on entries, the first of them kept and all of them counted."""

    kept: list[Note] = field(default_factory=list)
    count: int = 0

    def add(self, entry: int, what: str) -> None:
        """Keep it if there is room."""
        self.count += 1
        if len(self.kept) < MOST_KEPT:
            self.kept.append(Note(entry, what))


@dataclass
class Findings:
    """All that is known of a ledger after the pass.

    Attributes:
        entries: lines that follow the rules of a chain, before the first that does not.
        head: hash of the last of these.
        signed: how many of them the last head covers, itself included.
        broken: the error of the line after them, if that breaks a rule.
        found: entry of each anchor that is in the ledger, in the order of the ledger.
        behind: types of the entries behind the last anchor that only the site vouches for.
        carried: whether the release that took the last anchor to its holder stands behind it.
        types: how many entries of each type there are.
        unknown: what this version does not know, with how often.
        lost: what the ledger declares lost of its end.
    """

    anchors: Sequence[Anchor]
    entries: int = 0
    head: str = NO_ENTRY
    signed: int = 0
    broken: TrustError | None = None
    began: str = ""
    ended: str = ""
    found: dict[Anchor, int] = field(default_factory=dict)
    behind: Counter[str] = field(default_factory=Counter)
    carried: bool = False
    types: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    studies: dict[str, StudyAccount] = field(default_factory=dict)
    breaches: Notes = field(default_factory=Notes)
    remarks: Notes = field(default_factory=Notes)
    lost: list[Loss] = field(default_factory=list)

    @property
    def anchored(self) -> int:
        """How many entries the last anchor in the ledger covers."""
        return max(self.found.values(), default=0)

    @property
    def missing(self) -> list[Anchor]:
        """The anchors that are no entry of the ledger."""
        return [anchor for anchor in self.anchors if anchor not in self.found]

    @property
    def end_anchored(self) -> bool:
        """Whether rule 3 holds."""
        closing = any(anchor.study and n == self.anchored for anchor, n in self.found.items())
        whole = self.broken is None and self.signed == self.entries
        covered = self.anchored > 0 and not self.missing and not self.behind
        return whole and covered and (self.carried or not closing)


def examine(lines: Iterable[bytes], signer: Signer, anchors: Sequence[Anchor] = ()) -> Findings:
    """Take a ledger's lines, with their newlines, through the module's rules."""
    findings, releases, storings = Findings(anchors), Releases(), Storings()
    findings.studies = releases.studies
    held = {anchor.head: [a for a in anchors if a.head == anchor.head] for anchor in anchors}
    try:
        for entry in verified(lines, public_key=signer.key, signer=signer.name):
            _place(findings, entry, held.get(entry.hash, []))
            if signer.name != COORDINATOR:  # a journal is told by `wardround study log`
                _read(findings, entry, releases, storings)
    except TrustError as error:
        findings.broken = error
    return findings


def _place(findings: Findings, entry: Entry, anchors: Sequence[Anchor]) -> None:
    findings.began, findings.ended = findings.began or entry.time, entry.time
    findings.entries, findings.head = entry.n, entry.hash
    findings.types[_bounded(findings.types, entry.type)] += 1
    if entry.type == HEAD:
        findings.signed = entry.n
    if anchors:
        findings.found |= dict.fromkeys(anchors, entry.n)
        findings.behind.clear()
        findings.carried = False
    elif _carries(findings, entry):
        findings.carried = True
    elif findings.found and entry.type != HEAD:
        findings.behind[_bounded(findings.behind, entry.type)] += 1


def _carries(findings: Findings, entry: Entry) -> bool:
    """Whether this release took the anchor before it to its holder: a head can be named only before it leaves."""
    studies = [anchor.study for anchor, n in findings.found.items() if n == entry.n - 1]
    closing = entry.type == "release" and entry.data.get("kind") == "closed"
    return closing and any(study in (None, entry.data.get("study")) for study in studies)


def _read(findings: Findings, entry: Entry, releases: Releases, storings: Storings) -> None:
    if fault := releases.follow(entry) or storings.follow(entry):
        findings.breaches.add(entry.n, fault)
    for word in unknown_in(entry):
        findings.unknown[_bounded(findings.unknown, word)] += 1
    if entry.type == TAIL_LOST:
        _lose(findings, entry)
    if what := _remark(entry):
        findings.remarks.add(entry.n, what)


def _lose(findings: Findings, entry: Entry) -> None:
    try:
        findings.lost.append(Loss(entry.n, str(entry.data.get("by"))[:MOST_KEPT], read_loss(entry)))
    except TrustError as error:
        findings.breaches.add(entry.n, error.what)


def _remark(entry: Entry) -> str | None:
    said = entry.data
    where = f"round {said.get('round')} of {said.get('study')}"
    more = f"; {said['more']} more before it" if isinstance(said.get("more"), int) else ""
    if entry.type == "release" and (said.get("kind") != "refused" or said.get("refusal") in _NOT_YET):
        return None
    remarks = {
        "release": f"the site refused, {where}",
        "release_refused": f"the door held a release back: {said.get('rule')}",
        "message_discarded": f"a message was thrown away: it was not the coordinator's word to this site{more}",
        "head_refused": f"a message named a head that is not in this ledger, {where}{more}",
        "mandate_followed": f"from here on the federation is coordinated by {str(said.get('lead'))[:MOST_KEPT]},"
        f" by mandate {said.get('number')}: {str(said.get('fingerprint'))[:MOST_KEPT]}",
        "mandate_refused": f"mandates were not followed: old ones, or other ones than before{more}",
        "claim_dismissed": f"{str(said.get('by'))[:MOST_KEPT]} called a claim of the coordinator's false, {where}",
        "waiting_line_damaged": "a line on what a command did was damaged before it came here; the site has its bytes",
        "cut": f"a crash tore off the line before; {said.get('bytes')} bytes of it were lost",
    }
    return remarks.get(entry.type)


def _bounded(counts: Counter[str], word: str) -> str:
    return word if word in counts or len(counts) < MOST_KEPT else "others"
