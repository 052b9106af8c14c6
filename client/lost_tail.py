"""The end of a site's ledger that was lost: betrayed by a head that others hold, declared by a person, told to all.

1. A head that the coordinator names and the ledger lacks is written beside the ledger, in `foreign_heads.json`,
   before its message is refused: for each study the furthest, and the round that the study had got to.
2. `wardround site budget reconcile` declares the loss in an entry `tail_lost`: who, when, why, and which entries.
3. From then on the site goes on from its shorter ledger, and names the loss in each of its reports, so that the
   coordinator writes it down and tells all other sites. They, the coordinator's journal and every auditor keep it.

Nobody who cuts a ledger can do so unseen: without the declaration its messages stay refused, with it everybody knows.
What a message is believed of is `client/heads.py`'s matter.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from client.receipts import LEDGER_FILE, is_entry, latest_receipt, recent_receipts
from shared.durable import write_atomically
from shared.heads import MOST_LOST, Head, LostTail
from shared.ledger import Ledger, read_types
from shared.section import Section
from shared.study import Name

FILE_NAME = "foreign_heads.json"
ENTRY = "tail_lost"


class ForeignHead(Section):
    """A head that the ledger lacks, and the round in which the coordinator named it."""

    head: Head
    round: Annotated[int, Field(ge=0)]


class _Kept(Section):
    studies: dict[Name, ForeignHead] = Field(default_factory=dict)


def note_foreign(folder: Path, study: str, number: int, heads: Iterable[Head]) -> None:
    """Write the furthest of these heads down, named in round `number` of a study, unless a further one is there.

    Raises:
        OSError: the disk refused.
    """
    kept = foreign_heads(folder)
    known = [kept[study].head] if study in kept else []
    head = max([*known, *heads], key=lambda one: one.n)
    number = max(number, kept[study].round if study in kept else 0)
    new = _Kept(studies=kept | {study: ForeignHead(head=head, round=number)})
    write_atomically(folder / FILE_NAME, new.model_dump_json().encode(), mode=0o600)


def foreign_heads(folder: Path) -> dict[str, ForeignHead]:
    """By study, what was written down; a file that cannot be read counts as none: the next message fills it again."""
    try:
        return dict(_Kept.model_validate_json((folder / FILE_NAME).read_bytes()).studies)
    except (OSError, ValidationError):
        return {}


def declared_losses(ledger: Path) -> tuple[LostTail, ...]:
    """What a ledger declares of its own end, the latest of it; the chain is not checked."""
    return tuple(_losses(ledger))[-MOST_LOST:]


def lost_heads(folder: Path) -> list[Head]:
    """The heads that others hold of the ledger in a site's folder, and which it lacks without saying so."""
    ledger = folder / LEDGER_FILE
    latest = latest_receipt(folder)
    named = [latest.head] if latest is not None and latest.head is not None else []
    covered = [head for head in named if any(loss.covers(head) for loss in declared_losses(ledger))]
    named += [foreign.head for foreign in foreign_heads(folder).values()]
    return [head for head in named if head not in covered and not is_entry(ledger, head)]


def declare(folder: Path, ledger: Ledger, heads: list[Head], *, by: str, why: str, now: str) -> LostTail:
    """Write into the ledger that its end was lost, up to the furthest of these heads.

    Args:
        folder: the site's.
        ledger: the site's, which lacks the heads.
        heads: those that `lost_heads` gave.
        by: who declares it.
        why: in a sentence.
        now: RFC 3339, UTC.
    """
    furthest, first = max(heads, key=lambda head: head.n), min(head.n for head in heads)
    vouched = (n for n in _vouched(folder, ledger) if n < first)
    loss = LostTail(since=max(vouched, default=0), entry=furthest.n, hash=furthest.hash, declared=now)
    said = loss.model_dump(exclude={"declared"}) | {"by": by, "why": why}
    ledger.append(ENTRY, said, time=now)
    (folder / FILE_NAME).unlink(missing_ok=True)
    return loss


def _vouched(folder: Path, ledger: Ledger) -> Iterator[int]:
    """The entries that the coordinator has held, by the receipts and by what the ledger says of its messages."""
    for receipt in recent_receipts(folder):
        if receipt.head is not None and ledger.holds(receipt.head.n, receipt.head.hash):
            yield receipt.head.n
    for entry in read_types(folder / LEDGER_FILE, ("heads",)):
        if isinstance(n := entry.data.get("entry"), int):
            yield n


def _losses(ledger: Path) -> Iterator[LostTail]:
    for entry in read_types(ledger, (ENTRY,)):
        said = entry.data
        yield LostTail(since=said["since"], entry=said["entry"], hash=said["hash"], declared=entry.time)
