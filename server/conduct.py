"""Sets the desk for one study and lets the conductor work: what the ServerApp does, start to end."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.checkpoint import Checkpoints
from server.cohort import choose, remaining
from server.conductor import Conductor
from server.desk import Desk
from server.federation import Federation, LiveRoster, load_federation
from server.journal import Journal, read_live_history
from server.launch import START_MODEL
from server.link import ServerLink
from server.membership.admissions import Admissions
from server.memory_link import MemoryLink
from server.owner import Ownership, claim
from server.records import EpochClaimed, StudyStarted
from server.rehearsal import Rehearsal
from server.report import write_report
from server.spool import UpdateSpool
from server.study_folder import Request, StudyFolder, StudyState
from shared.canonical import digest
from shared.clock import utc_now
from shared.errors import DiskFull, LinkError, StaleEpoch, WardroundError, naming_disk_full
from shared.remarks import trouble
from shared.update import PackedFile

NODES_FILE = Path("run") / "nodes.json"


def conduct(federation_folder: Path, folder: StudyFolder, grid: Any, *, say: Callable[[str], None]) -> None:
    """Own a study and take it to its end; return quietly when another owner took over.

    What only a person can mend (a broken disk, a damaged file, a site that is not on the roster) fails the study with
    its reason. A process that never became the owner, say because the federation's folder is not sound, or that found
    the disk full, leaves the study as it is.

    Raises:
        LinkError: the SuperLink is gone; a new owner will go on.
        DiskFull: a new owner will go on when there is room.
    """
    try:
        with naming_disk_full():
            federation = load_federation(federation_folder)
            owner = claim(folder.path, after=_known_epoch(folder))
    except WardroundError as error:
        say(trouble(error))
        return
    try:
        with naming_disk_full():
            _conduct(federation, folder, owner, grid, say=say)
    except StaleEpoch as stale:
        say(trouble(stale))
    except (LinkError, DiskFull) as error:
        say(trouble(error))
        raise
    except WardroundError as error:
        say(trouble(error))
        with contextlib.suppress(StaleEpoch), owner.guard():
            folder.move(StudyState.FAILED, now=utc_now(), reason=error.what, remedy=error.remedy)


def _known_epoch(folder: StudyFolder) -> int:
    """The highest epoch that the journal knows; 0 if it cannot be read, which its owner will say."""
    with contextlib.suppress(WardroundError, FileNotFoundError):
        return read_live_history(folder.journal).epoch
    return 0


def _conduct(
    federation: Federation, folder: StudyFolder, owner: Ownership, grid: Any, *, say: Callable[[str], None]
) -> None:
    study = folder.study()
    start = folder.path / START_MODEL
    with Journal.open(folder.journal, key=federation.coordinator_key, clock=utc_now) as journal:
        started = journal.history.started
        sites, rounds = federation.roster.sites(), study.rounds
        if started:
            cohort = remaining(sites, started.cohort, quorum=rounds.quorum, sample=rounds.sample)
        else:
            cohort = choose(sites, rounds.sites, quorum=rounds.quorum, sample=rounds.sample, buffer=rounds.buffer)
        desk = Desk(
            study=study,
            folder=folder,
            tensors=PackedFile(start).table(),
            roster=LiveRoster(federation),
            cohort=cohort,
            key=federation.coordinator_key,
            link=_line(grid, federation.folder),
            owner=owner,
            journal=journal,
            spool=UpdateSpool(folder.path / "spool"),
            say=say,
            sent_bytes=int(folder.read_status().get("sent_bytes", 0)),
            rehearsal=folder.rehearsal(),
            admissions=Admissions(federation.folder),
            succession=federation.succession,
        )
        if started is None:
            start_digest = digest(start.read_bytes())
            desk.write(
                StudyStarted(study=study.name, study_digest=study.digest(), start_digest=start_digest, cohort=cohort)
            )
        conductor = None if desk.rehearsal else Conductor(desk, Checkpoints(folder.path / "models"))
        if conductor is not None:
            conductor.reconcile()
        desk.write(EpochClaimed(epoch=owner.epoch, pid=os.getpid()))
        if not any(folder.asked(request) for request in Request):  # else the conductor ends at its first look
            folder.move(StudyState.RUNNING, now=utc_now())
        if conductor is None:
            return Rehearsal(desk).run()
        conductor.run()
    try:
        write_report(folder)
    except WardroundError as error:  # the study is over and safe; its report can be written again
        say(trouble(error, "{error} Then: wardround study report {study}", study=folder.name))


def _line(grid: Any, federation_folder: Path) -> Any:
    """The line that this Grid allows: object by object, or the public one that a simulation has, too."""
    if hasattr(grid, "_runtime_client"):
        return ServerLink(grid, NodesFile(federation_folder / NODES_FILE))
    return MemoryLink(grid)


class NodesFile(Mapping[str, int]):
    """Site name -> Flower node id, as the supervisor last wrote it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._nodes: dict[str, int] = {}

    def __getitem__(self, site: str) -> int:
        return self._fresh()[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fresh())

    def __len__(self) -> int:
        return len(self._fresh())

    def _fresh(self) -> dict[str, int]:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read_at:
                self._nodes = json.loads(self._path.read_bytes())
                self._read_at = changed
        except FileNotFoundError:  # the supervisor ends, or is not up yet
            self._nodes, self._read_at = {}, -1
        return self._nodes
