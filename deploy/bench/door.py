"""`wardround bench door`: what was not agreed does not leave a site, whoever inside it asks for it.

One real site of a real federation stands in the middle of a round, and its door is offered one attack after
the other (`deploy/bench/door_attacks.py`); at last the coordinator itself asks for too much. What left is what the
site's own line to the server counted. At the end the honest answer goes out, so that nobody takes a door that is stuck
for one that is shut.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.bench.bed import workplace
from deploy.bench.bypass import planted_bypass_caught
from deploy.bench.door_attacks import ATTACKS, batch_of_one
from deploy.bench.door_bed import DoorBed, door_bed
from shared.console import table

TRIES = 2  # what is held back once may leave the second time


def run(*, keep: Path | None = None) -> dict[str, Any]:
    """Offer every attack at the door.

    Args:
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ResourceError: the federation did not come up.
    """
    with workplace(keep) as root, door_bed(root) as bed:
        cases = [*_offered(bed), _swapped(bed), _asked(bed)]
        update_bytes, honest_bytes = len(bed.offer().update), bed.answer()
    return {
        "cases": cases,
        "left_bytes": sum(case["left_bytes"] for case in cases),
        "honest_left_bytes": honest_bytes,
        "honest_update_bytes": update_bytes,
        "planted_bypass_caught": planted_bypass_caught(),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for case in data["cases"]:
        if not case["refused"] or case["left_bytes"]:
            yield f"{case['case']}: {case['left_bytes']} bytes left."
        elif not case["in_ledger"]:
            yield f"{case['case']}: the refusal is not in the ledger."
    if data["honest_left_bytes"] <= data["honest_update_bytes"]:
        yield "The honest answer did not leave either."
    if data["planted_bypass_caught"] is None:
        yield "That a bypass is caught was not shown: that takes a checkout of the source, with its tests."
    elif not data["planted_bypass_caught"]:
        yield "A planted bypass was not caught."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per attack."""
    rows = (
        (case["case"], "yes" if case["refused"] else "NO", case["left_bytes"], case["rule"] or "")
        for case in data["cases"]
    )
    caught = {True: "is caught", False: "is NOT caught", None: "was not tried"}[data["planted_bypass_caught"]]
    said = f"\nhonest answer: {data['honest_left_bytes']} bytes left · a planted bypass {caught}"
    return Group(table(("attack", "refused", "bytes left", "rule"), rows), Text(said))


def worst(name: str, tries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What an attack came to: of several tries whatever any of them broke."""
    most = max(tries, key=lambda found: int(found["left_bytes"]))
    kept = {promise: all(found[promise] for found in tries) for promise in ("refused", "in_ledger")}
    return {"case": name} | most | kept


def _offered(bed: DoorBed) -> Iterator[dict[str, Any]]:
    honest = bed.offer()
    state = bed.state(honest)
    for name, attack in ATTACKS.items():
        offer = attack(honest, state)
        yield worst(name, [bed.attempt(offer) for _ in range(TRIES)])


def _swapped(bed: DoorBed) -> dict[str, Any]:
    """The file that the door has checked is another one of the same length when it is sent."""
    honest = bed.offer()
    other = honest.update[:-1] + bytes([honest.update[-1] ^ 1])
    return worst("model_swap", [bed.attempt(honest, swap=other) for _ in range(TRIES)])


def _asked(bed: DoorBed) -> dict[str, Any]:
    """The coordinator asks for a study whose steps see one image, and for its first round."""
    messages = batch_of_one(bed.opening, address=bed.address)
    return worst("batch_of_one", [bed.ask(messages) for _ in range(TRIES)])
