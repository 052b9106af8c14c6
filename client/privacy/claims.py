"""What the coordinator says of this site's past, and the site's own books lack: kept until a person has settled it.

1. A claim is of a study: that this site counted in a round or, with a `head`, that its ledger held an entry by then.
   It is written beside the ledger, in `claims.json`, before its message is refused: of each kind the furthest in each
   study. A receipt that names a head which the ledger lacks is a claim, too. No claim is a head at or below one that
   the ledger has and a receipt of the same study names: in a study the coordinator's heads only grow, so it
   contradicts itself. In another study it may be of a restored ledger's lost end, which is as long by now.
2. While one is open, the privacy budget is not believed (`client/privacy/budget_file.py`).
3. A person settles it: as true, by declaring the loss (`client/privacy/reconcile.py`), or as false, by an entry
   `claim_dismissed` (`client/privacy/dismissal.py`). What was dismissed does not become open again when it is said
   again.

What a message is believed of is `client/heads.py`'s matter, what a true claim costs `client/privacy/reconcile.py`'s.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from client.privacy.lost_tail import losses
from client.receipts import LEDGER_FILE, entries_among, recent_receipts
from shared.durable import write_atomically
from shared.fields import Name
from shared.heads import Head
from shared.ledger import read_types
from shared.receipt import Receipt
from shared.section import Section

FILE_NAME = "claims.json"
DISMISSED = "claim_dismissed"
SETTLE = (
    "Stop the agent. If something here was restored: `wardround site budget reconcile`. If nothing was: `wardround site"
    " budget reconcile --dismiss --reason WHY`, which charges nothing. Then start it again."
)


class Claim(Section):
    """That this site counted in a round of a study; with a `head`, that its ledger held that entry by then."""

    study: Name
    round: Annotated[int, Field(ge=0)]
    head: Head | None = None

    def __str__(self) -> str:
        if self.head is None:
            return f"this site counted in round {self.round} of {self.study}"
        return f"this site's ledger had an entry {self.head.n:,} by round {self.round} of {self.study}"

    def told(self) -> dict[str, Any]:
        """The claim as the ledger and programs are told it."""
        n, hash_ = (self.head.n, self.head.hash) if self.head else (None, None)
        return {"study": self.study, "round": self.round, "entry": n, "hash": hash_}

    @classmethod
    def read(cls, said: dict[str, Any]) -> Self:
        """What `told` gave."""
        head = None if said["entry"] is None else Head(n=said["entry"], hash=said["hash"])
        return cls(study=said["study"], round=said["round"], head=head)

    def repeats(self, other: "Claim") -> bool:
        """Whether it says no more than another one."""
        if self.head is None:
            return other.head is None and self.study == other.study and self.round <= other.round
        return self.head == other.head


class _Noted(Section):
    claims: tuple[Claim, ...] = ()


def note_claim(folder: Path, claim: Claim) -> None:
    """Write a claim down, unless a further one of its kind and study is there.

    Raises:
        OSError: the disk refused.
    """
    noted = _noted(folder)
    same = [one for one in noted if (one.study, one.head is None) == (claim.study, claim.head is None)]
    furthest = max([*same, claim], key=lambda one: one.head.n if one.head else one.round)
    number = max(one.round for one in [*same, claim])
    kept = (*(one for one in noted if one not in same), furthest.model_copy(update={"round": number}))
    write_atomically(folder / FILE_NAME, _Noted(claims=kept).model_dump_json().encode(), mode=0o600)


def open_claims(folder: Path) -> list[Claim]:
    """The claims that nobody has settled yet, in a site's folder."""
    ledger, noted = folder / LEDGER_FILE, _noted(folder)
    found = [*noted, *_of_receipts(folder, but={one.head for one in noted})]
    if not found:
        return []
    settled = entries_among(ledger, {one.head for one in found if one.head}), list(_dismissed(ledger))
    return [one for one in found if one.head not in settled[0] and not any(map(one.repeats, settled[1]))]


def vouched(folder: Path, study: str) -> int:
    """The last entry of a site's ledger that a receipt of a study names, below which no claim of it can be; else 0."""
    return _vouched(folder, recent_receipts(folder)).get(study, 0)


def is_dismissed(ledger: Path, claim: Claim) -> bool:
    """Whether a person at the site has said that this is false."""
    return any(map(claim.repeats, _dismissed(ledger)))


def forget_claims(folder: Path) -> None:
    """Let those go that were noted: they are settled, and the ledger says so."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def _noted(folder: Path) -> tuple[Claim, ...]:
    """A file that cannot be read counts as none: the next message fills it again."""
    try:
        return _Noted.model_validate_json((folder / FILE_NAME).read_bytes()).claims
    except (OSError, ValidationError):
        return ()


def _of_receipts(folder: Path, *, but: set[Head | None]) -> Iterator[Claim]:
    """Of the newest receipts; heads of an end that was declared lost are settled."""
    receipts, lost = recent_receipts(folder), list(losses(folder / LEDGER_FILE))
    below = _vouched(folder, receipts)
    for receipt in receipts:
        head = receipt.head
        if head is None or head in but or any(loss.covers(head) for loss in lost):
            continue
        if head.n > below.get(receipt.study, 0):
            yield Claim(study=receipt.study, round=receipt.round, head=head)


def _vouched(folder: Path, receipts: Sequence[Receipt]) -> dict[str, int]:
    """As `vouched`, by study, of these receipts; the ledger is read once."""
    there = entries_among(folder / LEDGER_FILE, {receipt.head for receipt in receipts if receipt.head})
    last: dict[str, int] = {}
    for receipt in receipts:
        if receipt.head in there:
            last[receipt.study] = max(last.get(receipt.study, 0), receipt.head.n)
    return last


def _dismissed(ledger: Path) -> Iterator[Claim]:
    return (Claim.read(entry.data) for entry in read_types(ledger, (DISMISSED,)))
