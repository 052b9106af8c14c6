"""One simulation, start to end, and its figures: what a round cost, and what a bare loop costs."""

import resource
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.simulation.in_process import lanes_for, simulate_here
from deploy.simulation.virtual import VirtualFederation, Wish, make_federation
from server.journal import read_records
from server.launch import FINAL_MODEL
from server.record import Record
from server.records import RoundCommitted, RoundOpened
from server.study_folder import StudyFolder, StudyState
from shared.canonical import digest
from shared.durable import never_waiting
from shared.errors import StudyError

METHOD = (
    "seconds_per_round: the median of all rounds, from a round's opening to the next one's, by the journal; the last "
    "ends with its commit. plain_loop_s: one round of the same local work on as many threads, in the same process, "
    "afterwards: no message, no signature, no ledger, no check; the median of plain_loops, as many as there were "
    "rounds, but 3 to 5. one_core_s: the same on one thread, once. ratio: of the two medians. "
    "rss_peak_bytes: the most that the process held before the plain loop."
)
_FEWEST_LOOPS, _MOST_LOOPS = 3, 5


def run(
    root: Path,
    wish: Wish,
    *,
    ray: bool,
    cluster: str | None,
    cores: int,
    plain_loop: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Simulate a study under `root`.

    Args:
        root: an empty folder.
        wish: what to simulate.
        ray: through Flower's Ray engine instead of this process.
        cluster: the address of a running Ray cluster, if it is not to be started here.
        cores: how many cores to use here.
        plain_loop: whether to time the bare loop afterwards.
        say: prints one line of progress.

    Raises:
        ConfigError: the study or the images cannot be used as asked.
        StudyError: the study did not finish.
    """
    say(f"Provisioning {wish.sites} virtual sites ...")
    with never_waiting():
        made = make_federation(root, wish)
    say("Running the study ...")
    if ray:
        from deploy.simulation.ray_engine import simulate

        simulate(made.federation, made.sites, made.study.name, cluster=cluster)
    else:
        simulate_here(made.federation, made.sites, made.study.name, cores=cores)
    _insist(made.study)
    lanes = lanes_for(made.study.study(), cores)
    data = _figures(made.study) | {"engine": "ray" if ray else "in-process", "lanes": lanes}
    if plain_loop and made.study.study().training is not None:
        say("Timing a bare loop over the same work ...")
        data |= _compared(made, data["seconds"], lanes=lanes, device=wish.device)
    return data


def spans(records: Iterable[tuple[str, Record]]) -> list[float]:
    """Seconds of each round, from the time (RFC 3339) and record of each journal entry."""
    opened: dict[int, float] = {}
    committed: dict[int, float] = {}
    for stamp, record in records:
        at = datetime.fromisoformat(stamp).timestamp()
        if isinstance(record, RoundOpened):
            opened.setdefault(record.round, at)
        elif isinstance(record, RoundCommitted):
            committed[record.round] = at
    return [round(opened.get(number + 1, committed[number]) - opened[number], 3) for number in sorted(committed)]


def _figures(study: StudyFolder) -> dict[str, Any]:
    seconds = spans((entry.time, record) for entry, record in read_records(study.path / "journal.jsonl"))
    sites = next(r.cohort for _, r in read_records(study.path / "journal.jsonl") if isinstance(r, RoundOpened))
    return {
        "study": study.name,
        "sites": len(sites),
        "rounds": len(seconds),
        "method": METHOD,
        "seconds": seconds,
        "seconds_per_round": round(statistics.median(seconds), 3),
        "rss_peak_bytes": _rss_peak(),
        "weights_sha256": digest((study.path / FINAL_MODEL).read_bytes()),
        "study_folder": str(study.path),
    }


def _compared(made: VirtualFederation, rounds: Sequence[float], *, lanes: int, device: str) -> dict[str, Any]:
    from deploy.simulation.plain_loop import PlainLoop

    folders = sorted(path.parent for path in made.sites.glob("*/site.toml"))
    loop = PlainLoop(made.study, folders, device=device)
    loops = [loop.run(lanes=lanes) for _ in range(min(max(len(rounds), _FEWEST_LOOPS), _MOST_LOOPS))]
    seconds, on_lanes, one_core = statistics.median(rounds), statistics.median(loops), loop.run(lanes=1)
    return {
        "plain_loops": [round(each, 3) for each in loops],
        "plain_loop_s": round(on_lanes, 3),
        "one_core_s": round(one_core, 3),
        "ratio": round(seconds / on_lanes, 3),
        "ratio_to_one_core": round(seconds / one_core, 3),
    }


def _rss_peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _insist(study: StudyFolder) -> None:
    standing = study.standing()
    if standing.state is not StudyState.FINISHED:
        raise StudyError(standing.reason or "The study ended early.", remedy=standing.remedy or "Use --keep, read log.")
