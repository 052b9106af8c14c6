"""From a folder of answers into the site's PACS: one result after another, each written down before and after.

Decides the order, and what a run that goes on leaves out: what the ledger says of this PACS already. Nothing is sent
outside the site's hours. The first error ends the run. A crash between the PACS's yes and the entry sends one result
twice, which the PACS keeps once.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from client.pacs.depot import Depot
from client.pacs.marks import instance_mark
from client.pacs.results import Result
from shared.errors import Refusal, WireCode

SENT, STORED = "result_sent", "result_stored"


@dataclass
class Stored:
    """What became of the results: those that the PACS has taken now, their bytes, those stored before, and whose."""

    stored: int = 0
    stored_bytes: int = 0
    already_there: int = 0
    models: set[str] = field(default_factory=set)


def store_results(
    results: Iterable[Result],
    depot: Depot,
    *,
    key: bytes,
    destination: str,
    before: Collection[str],
    in_hours: Callable[[], bool],
    insist: Callable[[str], object],
    write: Callable[[str, dict[str, Any]], None],
    found: Stored,
) -> None:
    """Store what is not stored yet.

    Args:
        results: what there is.
        depot: the PACS.
        key: the site's own, for the marks of instances.
        destination: the PACS's label.
        before: marks of instances that it has.
        in_hours: whether the site works now.
        insist: what raises unless results of a model may be stored at this moment; asked before each.
        write: what writes an entry down: `result_sent` before, `result_stored` once the PACS has it.
        found: what is counted, also when an error ends it.

    Raises:
        Refusal: the site's hours are over.
        TrustError: nobody has signed for a model, or not any more.
        Away: the PACS went away.
        LinkError: it refuses one.
        DiskFull: an entry cannot be written down.
    """
    for result in results:
        mark, size = instance_mark(key, result.instance), len(result.data)
        if mark in before:
            found.already_there += 1
            found.models.add(result.model)
            continue
        _insist_on_hours(in_hours())
        said = {"model": result.model, "kind": result.kind, "instance": mark, "bytes": size, "destination": destination}
        insist(result.model)
        write(SENT, said)
        depot.store(result)
        write(STORED, said)
        found.stored += 1
        found.stored_bytes += size
        found.models.add(result.model)


def _insist_on_hours(within: bool) -> None:
    if not within:
        raise Refusal(
            WireCode.OUT_OF_HOURS,
            remedy="What was stored stays; give the same command again within policy.hours to go on.",
            rule="hours",
        )
