"""What the journals of a federation know of the sites' ledgers, whichever study it was heard in.

A site whose folder was restored between two studies would answer the second one from a shorter ledger, and nobody
would ask for what it lacks. So a study begins, and goes on, with the furthest head of each site that any journal
names. Losses are declared by a site in order: of two journals the one that knows the later loss is right about what
is left, and among those the one that knows the longer ledger. What was heard before a site was admitted is of another
ledger under its name: it lost its keys, and began anew. A journal that cannot be read tells nothing here; its own study
will say so.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from server.ledger_records import HeadsNoted, SiteClosed, TailLost
from shared.errors import WardroundError
from shared.heads import MOST_LOST, Head, Losses
from shared.ledger import read_types

_TOLD_BY = {record.entry_type(): record for record in (HeadsNoted, SiteClosed, TailLost)}


class Known(NamedTuple):
    """Of one site's ledger: its last head, None where that was lost and no later one named; and what was lost."""

    head: Head | None = None
    lost: Losses = ()

    @property
    def rank(self) -> tuple[str, int]:
        """What knows more is higher."""
        return self.lost[-1].declared if self.lost else "", self.head.n if self.head else 0


def known_by(journals: Iterable[Path], *, admitted: Mapping[str, float]) -> dict[str, Known]:
    """What these journals know together of each site that is admitted, since when in Unix seconds."""
    found: dict[str, Known] = {}
    for journal in journals:
        for site, known in _known(journal, admitted).items():
            found[site] = max(found.get(site, Known()), known, key=lambda one: one.rank)
    return found


def _known(journal: Path, admitted: Mapping[str, float]) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for at, record in _records(journal):
        there = {site for site, since in admitted.items() if since <= at}
        match record:
            case HeadsNoted():
                mine = {site: head for site, head in record.heads.items() if site in there}
                found |= {site: found.get(site, Known())._replace(head=head) for site, head in mine.items()}
            case SiteClosed() if record.n is not None and record.site in there:
                closed = Head(n=record.n, hash=record.head)
                found[record.site] = found.get(record.site, Known())._replace(head=closed)
            case TailLost() if record.site in there:
                before = found.get(record.site, Known())
                kept = None if before.head is not None and record.lost.covers(before.head) else before.head
                found[record.site] = Known(kept, (*before.lost, record.lost)[-MOST_LOST:])
    return found


def _records(journal: Path) -> Iterator[tuple[float, HeadsNoted | SiteClosed | TailLost]]:
    """Each record that tells of heads, and when it was written."""
    with suppress(OSError, ValidationError, WardroundError):
        for entry in read_types(journal, _TOLD_BY):
            yield datetime.fromisoformat(entry.time).timestamp(), _TOLD_BY[entry.type].model_validate(entry.data)
