"""`wardround bench intruders`: who has no right is refused, and the sites' work goes on meanwhile.

A real federation serves three honest sites, whose studies follow each other without a pause; one way in without
right after the other is tried: calls (`intruder_calls.py`), papers (`intruder_papers.py`), servers
that are none (`impostors.py`), lines (`intruder_lines.py`). Every study must come to the very model of the one that
nobody disturbed, with every site in every round.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.bench.bed import listening, remains, workplace
from deploy.bench.impostors import IMPOSTORS
from deploy.bench.intruder_calls import CALLS
from deploy.bench.intruder_ground import GotIn, Ground, open_doors, prepare
from deploy.bench.intruder_lines import LINES, LOADS
from deploy.bench.intruder_papers import PAPERS
from shared.console import progress_console, table

Attack = Callable[[Ground], str]
ATTACKS: Mapping[str, Attack] = {**CALLS, **PAPERS, **IMPOSTORS, **LINES, **LOADS}
_LONGEST = 160


def run(*, attacks: Mapping[str, Attack] = ATTACKS, keep: Path | None = None) -> dict[str, Any]:
    """Try every way in.

    Args:
        attacks: by name; each says how it was refused, or raises `GotIn`.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ResourceError: the federation did not come up, or a process of it ended.
    """
    with workplace(keep) as root:
        federation, ground = prepare(root)
        with federation:
            open_doors(federation)
            calm = ground.studies.calm()
            ground.studies.start()
            try:
                cases = [_tried(name, attack, ground) for name, attack in attacks.items()]
            finally:
                studies = ground.studies.stop()
            ports = listening(federation)
        left = remains(federation, ports)
    return {
        "cases": cases,
        "ways_in": len(cases),
        "refused": sum(case["refused"] for case in cases),
        "calm": calm,
        "studies": studies,
        "served_meanwhile": served(calm, studies),
        "orphans": left.count,
    }


def served(calm: Mapping[str, Any], studies: list[dict[str, Any]]) -> bool:
    """Whether each study finished with every site in every round, and with the model of the calm one."""
    whole = [study["finished"] and study["all_counted"] for study in (calm, *studies)]
    return bool(studies) and all(whole) and {study["weights_sha256"] for study in studies} == {calm["weights_sha256"]}


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for case in data["cases"]:
        if not case["refused"]:
            yield f"{case['name']}: {case['said']}."
    if not data["served_meanwhile"]:
        yield "The studies suffered."
    if data["orphans"]:
        yield f"{data['orphans']} processes or ports stayed behind."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per way in."""
    rows = ((case["name"], "yes" if case["refused"] else "NO", case["said"]) for case in data["cases"])
    slowest = max((study["seconds"] for study in data["studies"]), default=0.0)
    said = (
        f"\n{data['refused']} of {data['ways_in']} refused · meanwhile {len(data['studies'])} studies"
        f" {'as if nobody had come' if data['served_meanwhile'] else 'that SUFFERED'}"
        f" · undisturbed {data['calm']['seconds']:.1f} s, slowest {slowest:.1f} s"
    )
    return Group(table(("way in", "refused", "said"), rows), Text(said))


def _tried(name: str, attack: Attack, ground: Ground) -> dict[str, Any]:
    progress_console().print(f"{name} ...")
    try:
        return {"name": name, "refused": True, "said": attack(ground)[:_LONGEST]}
    except GotIn as way:
        return {"name": name, "refused": False, "said": str(way)[:_LONGEST]}
