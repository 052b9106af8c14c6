"""`wardround bench faults`: whatever breaks, and whenever, the study finishes and the books are right.

A real federation of four sites runs the same small study again and again; in each run one fault strikes
(`deploy/bench/fault_plan.py`). A study in which every site counted in every round must come to the
undisturbed model bit for bit; in any other, the journal says who did not count and why.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Group, RenderableType
from rich.text import Text

from deploy.bench.aftermath import held_locks
from deploy.bench.bed import listening, remains, workplace
from deploy.bench.fault_bed import fault_bed
from deploy.bench.fault_plan import Fault, Place, Strike, draw_plan
from deploy.bench.fault_run import OVER, ROUNDS, TRAIN, run_calm, run_struck
from deploy.bench.pictures import draw_sites
from deploy.bench.small_disk import why_not
from shared.console import progress_console, table

_LEFT = ("left_processes", "left_ports", "left_files", "left_locks")


def run(*, runs: int = 12, seed: int = 0, keep: Path | None = None) -> dict[str, Any]:
    """Run the plan.

    Args:
        runs: how many faults strike, one in each study.
        seed: of the plan, the pictures and the studies.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ConfigError: `keep` exists.
        StudyError: the undisturbed study did not finish.
    """
    plan = draw_plan(runs, seed=seed, sites=tuple(TRAIN), rounds=ROUNDS)
    cannot = _cannot()
    skipped = [
        {"run": s.run, "fault": s.card.fault.value, "victim": s.card.victim.value, "reason": cannot[s.card.fault]}
        for s in plan
        if s.card.fault in cannot
    ]
    with workplace(keep) as root:
        can = [strike for strike in plan if strike.card.fault not in cannot]
        found = _run_all(root, can, seed=seed, disks=Fault.DISK not in cannot)
    facts = {"runs": len(found["cases"]), "seed": seed, "sites": len(TRAIN), "rounds": ROUNDS, "skipped": skipped}
    return facts | found


def _cannot() -> dict[Fault, str]:
    """What this system or account cannot do, and why."""
    no_limit = None if hasattr(psutil.Process, "rlimit") else "needs Linux"
    return {fault: why for fault, why in ((Fault.DISK, why_not()), (Fault.MEMORY, no_limit)) if why is not None}


def _run_all(root: Path, plan: Iterable[Strike], *, seed: int, disks: bool) -> dict[str, Any]:
    """One federation for as many runs as finish; after one that does not, a new one."""
    data, waiting = draw_sites(root / "images", TRAIN, seed=seed), deque(plan)
    cases: list[dict[str, Any]] = []
    skewed = {strike.site for strike in waiting if strike.card.victim is Place.CLOCK}
    left: Counter[str] = Counter(dict.fromkeys(_LEFT, 0))
    calm: dict[str, Any] = {}
    while waiting or not calm:
        place, studies = root / f"bed-{len(cases)}", len(waiting) + 1
        with fault_bed(place, data, seed=seed, disks=disks, skewed=skewed, studies=studies) as bed:
            bed.begin()
            calm = run_calm(bed, seed=seed)
            while waiting:
                cases.append(run_struck(bed, waiting.popleft(), calm, seed=seed))
                _tell(cases[-1], runs=len(cases) + len(waiting))
                if not cases[-1]["finished"]:
                    break
            ports = listening(bed.federation)
            bed.federation.stop_all()
            behind = remains(bed.federation, ports)
            files = [path for path in bed.temporary.rglob("*") if path.is_file()]
            locks = held_locks(bed.federation.root)
        left.update(dict(zip(_LEFT, (behind.processes, behind.ports, len(files), len(locks)), strict=True)))
    return {"undisturbed": calm, "cases": cases} | _totals(cases, left)


def _totals(cases: list[dict[str, Any]], left: Counter[str]) -> dict[str, Any]:
    counted = [case for case in cases if case["all_counted"]]
    return {
        "finished": sum(case["finished"] for case in cases),
        "all_counted": len(counted),
        "identical": sum(case["identical"] for case in counted),
        **{word: sum(case[word] for case in cases) for word in ("lost", "double_counted", "unaccounted")},
        **{word: left[word] + sum(case.get(word, 0) for case in cases) for word in _LEFT},
        "stages_hit": dict(Counter(case["stage_hit"] for case in cases if case["stage_hit"] != OVER)),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for case in data["cases"]:
        for broken in _missed_by(case):
            yield f"Run {case['run']} ({case['fault']}, {case['victim']}, at {case['stage_hit']}): {broken}."
    for word in _LEFT:
        if data[word]:
            yield f"{data[word]} {word.removeprefix('left_')} stayed behind."


def _missed_by(case: dict[str, Any]) -> Iterator[str]:
    if not case["finished"]:
        yield f"the study did not finish by itself: {case['reason']}"
    if case["all_counted"] and not case["identical"]:
        yield "every site counted, and the model differs from the undisturbed one"
    if case["lost"]:
        yield f"{case['lost']} finished updates neither counted nor were named with a cause"
    if case["double_counted"] or case["unaccounted"]:
        yield "the journal and the ledgers do not agree that each update counted once"
    if not case["ledgers_verify"]:
        yield "a ledger or the journal does not hold"


def show(data: dict[str, Any]) -> RenderableType:
    """One row per run, what was left behind and what was skipped."""
    columns = ("run", "fault", "victim", "site", "stage hit", "s", "model", "books", "left")
    rows = (
        (
            case["run"],
            case["fault"],
            case["victim"],
            case["site"] or "",
            f"{case['stage_hit']} {case['round_hit'] or ''}",
            f"{case['seconds']:.1f}",
            _model(case),
            _books(case),
            sum(case[word] for word in _LEFT if word in case),
        )
        for case in data["cases"]
    )
    stages = ", ".join(f"{stage} {count}" for stage, count in data["stages_hit"].items())
    left = ", ".join(f"{data[word]} {word.removeprefix('left_')}" for word in _LEFT)
    words = [f"\nstages hit: {stages}", f"left behind: {left}"]
    words += [f"run {s['run']} skipped ({s['fault']}, {s['victim']}): {s['reason']}" for s in data["skipped"]]
    return Group(table(columns, rows), Text("\n".join(words)))


def _model(case: dict[str, Any]) -> str:
    """Against the undisturbed one; where a site did not count in some round it must be another."""
    if not case["finished"]:
        return "NONE"
    if not case["all_counted"]:
        return "fewer"
    return "same" if case["identical"] else "DIFFERS"


def _books(case: dict[str, Any]) -> str:
    if not case["ledgers_verify"]:
        return "BROKEN"
    if case["lost"]:
        return f"{case['lost']} LOST"
    return "TWICE" if case["double_counted"] or case["unaccounted"] else "right"


def _tell(case: dict[str, Any], *, runs: int) -> None:
    end = f"{case['seconds']:.1f} s" if case["finished"] else f"NOT FINISHED: {case['reason']}"
    progress_console().print(
        f"{case['run']}/{runs}  {case['fault']} {case['victim']} at {case['stage_hit']}: {end}", markup=False
    )
