"""One study with one fault: waits for the moment, lets the bed strike, waits for the end, reads the books."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.bench.aftermath import aftermath, held_locks, unfinished_files
from deploy.bench.bed import ENDED, queue, strays
from deploy.bench.fault_bed import FaultBed
from deploy.bench.fault_plan import Fault, Place, Strike
from deploy.bench.moments import Lookout
from deploy.bench.pictures import SIDE_PX
from deploy.bench.victims import Victim
from server.federation import load_federation
from server.study_folder import StudyFolder, StudyState
from shared.errors import StudyError, WardroundError

ROUNDS = 3
TRAIN = {"north": 48, "east": 64, "south": 96, "west": 256}
QUORUM = 3  # a site that says no does not end the study
PATIENCE_S = 240.0
TURN_S = 0.002  # some stages last milliseconds
AIM_S = 0.5
SETTLE_S, REST_S = 10.0, 0.05
OVER = "over"  # struck after the study's end
MOMENTARY = (Fault.KILL, Fault.RESTART)
OF_A_SITE = (Victim.AGENT, Victim.WORKER, Place.LINE, Place.SITE_DISK, Place.CLOCK)
STUDY = """\
[study]
name = "{name}"
seed = {seed}

[task]
classes = ["spot"]

[images]
size_px = {size_px}

[model]
width = 16

[training]
batch_size = 16
epochs_per_round = 1

[rounds]
count = {rounds}
quorum = {quorum}
deadline_s = 180
"""


def run_calm(bed: FaultBed, *, seed: int) -> dict[str, Any]:
    """The undisturbed study: its digest and how long it took.

    Raises:
        StudyError: it did not finish, or not with every site.
    """
    started, folder = time.monotonic(), queue(bed.federation, _text("undisturbed", seed))
    _await_end(bed, folder)
    took = time.monotonic() - started
    found = aftermath(load_federation(bed.federation.federation), folder, _ledgers(bed), rounds=ROUNDS)
    if not found.all_counted:
        reason = folder.standing().reason or "a site did not count"
        raise StudyError(f"The undisturbed study went wrong: {reason}.", remedy="Read the logs; is the machine busy?")
    return {"seconds": round(took, 2), "weights_sha256": found.weights_sha256}


def run_struck(bed: FaultBed, strike: Strike, calm: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """One run of the plan, as JSON values; a study that does not finish is a finding, not an error."""
    before = unfinished_files(bed.federation.root)
    started, folder = time.monotonic(), queue(bed.federation, _text(f"run-{strike.run}", seed))
    said = _plain(strike)
    try:
        said |= _strike(bed, strike, folder, at_s=started + strike.share * calm["seconds"])
        _await_end(bed, folder)
        reason = folder.standing().reason
    except WardroundError as error:
        reason = f"{error.what} {error.remedy}"
    finished = folder.standing().state is StudyState.FINISHED
    said |= {"finished": finished, "reason": reason, "seconds": round(time.monotonic() - started, 2)}
    return said | _judged(bed, folder, calm) | _left(bed, folder, before)


def _strike(bed: FaultBed, strike: Strike, folder: StudyFolder, *, at_s: float) -> dict[str, Any]:
    """Wait for the moment, strike, hold, undo; where the study was when the fault had struck."""
    lookout, aimed, aimed_at = Lookout(folder.path / "journal.jsonl", rounds=ROUNDS), None, 0.0
    while not (over := _over(folder)):
        now = time.monotonic()
        if lookout.look().passed(strike.at) if strike.at is not None else now >= at_s:
            break
        if now - aimed_at > AIM_S:
            aimed, aimed_at = bed.aim(strike, folder), now
        time.sleep(TURN_S)
    undo = bed.inflict(strike, folder, aimed)
    hit = lookout.look(until=time.time())
    try:
        time.sleep(0.0 if strike.card.fault in MOMENTARY else strike.hold_s)
    finally:
        undo()
    return {"stage_hit": OVER if over else hit.point.value, "round_hit": hit.round}


def _await_end(bed: FaultBed, folder: StudyFolder) -> None:
    bed.federation.wait_for(lambda: _over(folder), patience_s=PATIENCE_S, what=f"the end of {folder.name}")


def _over(folder: StudyFolder) -> bool:
    return folder.standing().state in ENDED


def _judged(bed: FaultBed, folder: StudyFolder, calm: dict[str, Any]) -> dict[str, Any]:
    try:
        found = aftermath(load_federation(bed.federation.federation), folder, _ledgers(bed), rounds=ROUNDS)
    except (WardroundError, FileNotFoundError):
        nothing = {"weights_sha256": None, "all_counted": False, "lost": 0, "double_counted": 0, "unaccounted": 0}
        return nothing | {"ledgers_verify": False, "identical": False}
    return asdict(found) | {"identical": found.weights_sha256 == calm["weights_sha256"]}


def _left(bed: FaultBed, folder: StudyFolder, before: set[Path]) -> dict[str, Any]:
    """What nobody holds any more and is still there, once everything has come to rest."""
    deadline = time.monotonic() + SETTLE_S
    while (files := unfinished_files(bed.federation.root) - before) and time.monotonic() < deadline:
        time.sleep(REST_S)
    return {
        "left_processes": strays(bed.federation),
        "left_files": len(files),
        "left_locks": len(held_locks(folder.path)),
    }


def _plain(strike: Strike) -> dict[str, Any]:
    """What the plan said, and a stage that no strike has hit yet."""
    at = None if strike.at is None else {"round": strike.at.round, "stage": strike.at.point.value}
    return {
        "run": strike.run,
        "fault": strike.card.fault.value,
        "victim": strike.card.victim.value,
        "site": strike.site if strike.card.victim in OF_A_SITE else None,
        "planned": at or {"share_of_time": strike.share},
        "hold_s": 0.0 if strike.card.fault in MOMENTARY else strike.hold_s,
        "stage_hit": "none",
        "round_hit": 0,
    }


def _ledgers(bed: FaultBed) -> dict[str, Path]:
    return {site: path / "ledger.jsonl" for site, path in bed.federation.sites.items()}


def _text(name: str, seed: int) -> str:
    return STUDY.format(name=name, seed=seed, size_px=SIDE_PX, rounds=ROUNDS, quorum=QUORUM)
