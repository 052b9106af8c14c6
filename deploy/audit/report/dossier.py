"""What the report is made from: the findings of `audit verify`, and the entries, sorted by what they tell.

The lines are read twice: once by `deploy/audit/examine.py`, which alone decides what holds, and once here, no
further than the chain held. Of each kind the first `MOST_ROWS` are kept and all of them counted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from deploy.audit.anchors import Anchor
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import Signer
from shared.chain import Entry, verified
from shared.privacy import History, Mechanism, epsilon_of, followed_by

MOST_ROWS = 2000  # of one kind on the page; the ledger has all
RELEASES = frozenset({"release"})
RECEIPTS = frozenset({"receipt"})
CONTRACTS = frozenset({"contract", "rehearsal"})
REFUSALS = frozenset({"release_refused", "message_discarded", "head_refused"})
PRIVACY = frozenset({"budget_reserved", "privacy_spent", "budget_returned", "budget_reconciled"})
PERSONAL = ("by", "person", "approved_by")  # fields that name a human being who did it


@dataclass
class Kept:
    """Entries of one kind, the first of them kept and all of them counted."""

    first: list[Entry] = field(default_factory=list)
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Keep it if there is room."""
        self.count += 1
        if len(self.first) < MOST_ROWS:
            self.first.append(entry)


@dataclass
class Dossier:
    """All that the page says.

    Attributes:
        file: the ledger's name, without its folder.
        made: when the report was made, RFC 3339 in UTC, by the clock of who made it.
        spent: by study, the mechanisms charged and the delta of the first of them.
    """

    file: str
    made: str
    signer: Signer
    findings: Findings
    releases: Kept = field(default_factory=Kept)
    receipts: Kept = field(default_factory=Kept)
    contracts: Kept = field(default_factory=Kept)
    refusals: Kept = field(default_factory=Kept)
    privacy: Kept = field(default_factory=Kept)
    human: Kept = field(default_factory=Kept)
    other: Kept = field(default_factory=Kept)
    spent: dict[str, tuple[History, float]] = field(default_factory=dict)

    def epsilons(self) -> dict[str, tuple[float, float, int]]:
        """By study: epsilon of all that was charged in it, its delta, and the number of steps."""
        return {
            study: (epsilon_of(history, delta=delta), delta, sum(run.steps for run in history))
            for study, (history, delta) in self.spent.items()
        }


def compile_dossier(
    lines: Callable[[], Iterable[bytes]], signer: Signer, anchors: Sequence[Anchor], *, file: str, made: str
) -> Dossier:
    """Read a ledger whole.

    Args:
        lines: gives the ledger's lines from its beginning, with their newlines, each time it is called.
        signer: whose ledger it is.
        anchors: heads that others hold.
        file: what the page calls the ledger.
        made: the time that the page carries.
    """
    dossier = Dossier(file, made, signer, examine(lines(), signer, anchors))
    if dossier.findings.entries:
        for entry in verified(lines(), public_key=signer.key, signer=signer.name):
            _sort(dossier, entry)
            if entry.n == dossier.findings.entries:
                break
    return dossier


def _sort(dossier: Dossier, entry: Entry) -> None:
    said = entry.data
    if entry.type == "privacy_spent":
        _charge(dossier, entry)
    if any(isinstance(said.get(name), str) for name in PERSONAL):
        dossier.human.add(entry)
    kinds = {
        RELEASES: dossier.releases,
        RECEIPTS: dossier.receipts,
        CONTRACTS: dossier.contracts,
        REFUSALS: dossier.refusals,
        PRIVACY: dossier.privacy,
    }
    kept = next((kept for types, kept in kinds.items() if entry.type in types), None)
    if kept is None and entry.type not in ("head", "heads", "model_received"):
        kept = dossier.other
    if kept is not None:
        kept.add(entry)
    if entry.type == "release" and said.get("kind") == "refused":
        dossier.refusals.add(entry)


def _charge(dossier: Dossier, entry: Entry) -> None:
    said = entry.data
    study, delta = said.get("study"), said.get("delta")
    try:
        run = Mechanism.model_validate({name: said.get(name) for name in Mechanism.model_fields})
    except ValueError:
        return  # what cannot be read is not added up; the entry itself stands in its table
    if isinstance(study, str) and isinstance(delta, float) and 0 < delta < 1:
        history, first = dossier.spent.get(study, ((), delta))
        dossier.spent[study] = (followed_by(history, run), first)
