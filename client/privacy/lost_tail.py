"""The end of a site's ledger that was lost: betrayed by a head that others hold, declared by a person, told to all.

1. A head that the coordinator names and the ledger lacks is a claim that is kept (`client/privacy/claims.py`).
2. `wardround site budget reconcile` declares the loss in an entry `tail_lost`: who, when, why, and which entries.
3. From then on the site goes on from its shorter ledger, and names the loss in each of its reports, so that the
   coordinator writes it down and tells all other sites. They, the coordinator's journal and every auditor keep it.

Nobody who cuts a ledger can do so unseen: without the declaration its messages stay refused, with it everybody knows.
What a message is believed of is `client/heads.py`'s matter.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from client.receipts import LEDGER_FILE, recent_receipts
from shared.heads import MOST_LOST, Head, LostTail
from shared.ledger import Ledger, read_types

ENTRY = "tail_lost"


def declared_losses(ledger: Path) -> tuple[LostTail, ...]:
    """What a ledger declares of its own end, the latest of it; the chain is not checked."""
    return tuple(losses(ledger))[-MOST_LOST:]


def losses(ledger: Path) -> Iterator[LostTail]:
    """Each loss that a ledger declares, the oldest first; the chain is not checked."""
    for entry in read_types(ledger, (ENTRY,)):
        said = entry.data
        yield LostTail(since=said["since"], entry=said["entry"], hash=said["hash"], declared=entry.time)


def loss_of(folder: Path, ledger: Ledger, heads: Collection[Head], *, now: str) -> LostTail:
    """What was lost of a ledger that lacks these heads: all behind the last entry that is vouched for before them.

    Args:
        folder: the site's.
        ledger: the site's.
        heads: those that it lacks, at least one.
        now: RFC 3339, UTC.
    """
    furthest, first = max(heads, key=lambda head: head.n), min(head.n for head in heads)
    vouched = (n for n in _vouched(folder, ledger) if n < first)
    return LostTail(since=max(vouched, default=0), entry=furthest.n, hash=furthest.hash, declared=now)


def declare(ledger: Ledger, loss: LostTail, *, by: str, why: str) -> None:
    """Write a loss into the ledger: by whom, and why in a sentence."""
    said = loss.model_dump(exclude={"declared"}) | {"by": by, "why": why}
    ledger.append(ENTRY, said, time=loss.declared)


def _vouched(folder: Path, ledger: Ledger) -> Iterator[int]:
    """The entries that the coordinator has held, by the receipts and by what the ledger says of its messages.

    An entry `heads` names a place alone: where an end was lost, it may be the lost entry of that place that was held.
    """
    for receipt in recent_receipts(folder):
        if receipt.head is not None and ledger.holds(receipt.head.n, receipt.head.hash):
            yield receipt.head.n
    lost = list(losses(folder / LEDGER_FILE))
    for entry in read_types(folder / LEDGER_FILE, ("heads",)):
        n = entry.data.get("entry")
        if isinstance(n, int) and not any(loss.since < n <= loss.entry for loss in lost):
            yield n
