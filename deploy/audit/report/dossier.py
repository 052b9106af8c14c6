"""What the report is made from: the findings of `audit verify`, and the entries, sorted by what they tell.

The lines are read twice: once by `deploy/audit/examine.py`, which alone decides what holds, and once here, no
further than the chain held. Of each kind the first `MOST_ROWS` are kept and all of them counted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deploy.audit.anchors import Anchor
from deploy.audit.budget_words import budget_data
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import Signer
from deploy.audit.report.compared import Compared
from deploy.audit.spending import spent
from shared.chain import Entry, verified
from shared.errors import TrustError

MOST_ROWS = 2000  # of one kind on the page; the ledger has all
RELEASES = frozenset({"release", "release_repeated"})
RECEIPTS = frozenset({"receipt"})
CONTRACTS = frozenset({"contract", "rehearsal"})
REFUSALS = frozenset({"release_refused", "release_again", "message_discarded", "mandate_refused", "head_refused"})
PRIVACY = frozenset({"budget_reserved", "privacy_spent", "budget_returned", "budget_reconciled"})
PERSONAL = ("by", "person")  # fields that name a human being who did it


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
        budget: what `audit budget` says of the ledger; None if an entry about it cannot be read.
        journals: what `audit reconcile` says of each study whose journal was given.
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
    budget: dict[str, Any] | None = None
    journals: tuple[Compared, ...] = ()


def compile_dossier(
    lines: Callable[[], Iterable[bytes]],
    signer: Signer,
    anchors: Sequence[Anchor],
    *,
    file: str,
    made: str,
    journals: Callable[[], Sequence[Compared]] = tuple,
) -> Dossier:
    """Read a ledger whole.

    Args:
        lines: gives the ledger's lines from its beginning, with their newlines, each time it is called.
        signer: whose ledger it is.
        anchors: heads that others hold.
        file: what the page calls the ledger.
        made: the time that the page carries.
        journals: lays journals beside it; not asked where the ledger is broken.
    """
    dossier = Dossier(file, made, signer, examine(lines(), signer, anchors))
    if dossier.findings.broken is None and dossier.findings.entries:
        dossier.journals = tuple(journals())
    entries = _sorted(dossier, lines())
    with suppress(TrustError):
        dossier.budget = budget_data(spent(entries), delta=None)
    for _ in entries:  # whatever stands behind an entry that the budget's rules could not read
        pass
    return dossier


def _sorted(dossier: Dossier, lines: Iterable[bytes]) -> Iterator[Entry]:
    """Each entry that holds, once it lies in its place."""
    if not dossier.findings.entries:
        return
    for entry in verified(lines, public_key=dossier.signer.key, signer=dossier.signer.name):
        _sort(dossier, entry)
        yield entry
        if entry.n == dossier.findings.entries:
            return


def _sort(dossier: Dossier, entry: Entry) -> None:
    said = entry.data
    personal = any(isinstance(said.get(name), str) for name in PERSONAL) and entry.type not in CONTRACTS
    if personal:
        dossier.human.add(entry)
    kinds = {
        RELEASES: dossier.releases,
        RECEIPTS: dossier.receipts,
        CONTRACTS: dossier.contracts,
        REFUSALS: dossier.refusals,
        PRIVACY: dossier.privacy,
    }
    kept = next((kept for types, kept in kinds.items() if entry.type in types), None)
    if kept is None and not personal and entry.type not in ("head", "heads", "model_received"):
        kept = dossier.other
    if kept is not None:
        kept.add(entry)
    if entry.type == "release" and said.get("kind") == "refused":
        dossier.refusals.add(entry)
