"""Whom the resume benchmark kills, when, and what a service manager would do next.

    site        one site's agent; started again after a second, as its service manager would
    worker      that site's worker; the agent starts another
    serverapp   the process that owns the study; the supervisor starts another
    superlink   Flower's server with all that descends from it; the supervisor starts it again

The first two die while the site trains, the others once another site's update has been admitted and
the slowest site still trains. Nothing here judges what comes of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from deploy.bench.victims import Victim, process_of
from deploy.local import LocalFederation
from server.journal import read_records
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateAdmitted, UpdateReady
from server.study_folder import StudyFolder
from shared.ledger import read_entries

RESTART_S = 1.0
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Killing:
    """What was killed, when, and what the server held of the round by then.

    Attributes:
        mid_round: the round was neither finished nor without work when the process was dead.
        kept: sites whose update of the round lay in the server's spool.
    """

    killed: str
    round: int
    mid_round: bool
    kept: frozenset[str]


def kill(whom: str, federation: LocalFederation, folder: StudyFolder, *, slowest: str, number: int) -> Killing:
    """Wait for the moment in round `number`, kill with SIGKILL, and start again what nobody else would.

    Raises:
        ResourceError: the moment did not come, or the process cannot be found.
    """
    moment, victim = _WHOM[whom]
    watch = Watch(federation, folder, slowest, number)
    federation.wait_for(lambda: moment(watch), patience_s=PATIENCE_S, what=f"the middle of round {number}")
    process = process_of(victim, federation, folder, site=slowest)
    process.kill()
    if whom == "site":
        federation.processes.pop(slowest).wait()
    else:
        psutil.wait_procs([process], timeout=1.0)
    killing = Killing(whom, number, watch.mid_round(), frozenset(watch.kept()))
    if whom == "site":
        time.sleep(RESTART_S)
        federation.start_site(slowest)
    return killing


@dataclass(frozen=True)
class Watch:
    """One round of a study, looked at from outside."""

    federation: LocalFederation
    folder: StudyFolder
    slowest: str
    number: int

    def training(self) -> bool:
        """The slowest site has its model and works on it."""
        entries = read_entries(self.federation.sites[self.slowest] / "ledger.jsonl")
        got = any(
            e.type == "model_received" and (e.data["study"], e.data["round"]) == (self.folder.name, self.number)
            for e in entries
        )
        return got and self.mid_round()

    def others_admitted(self) -> bool:
        """Somebody's update is admitted, and the slowest site has not reported."""
        return bool(self.kept()) and self.mid_round()

    def mid_round(self) -> bool:
        """The round is open and the slowest site has not reported."""
        records = self._records()
        over = any(isinstance(r, RoundCommitted) or _reports(r, self.slowest) for r in records)
        return not over and any(isinstance(r, RoundOpened) for r in records)

    def kept(self) -> set[str]:
        """Sites whose update of the round was admitted."""
        return {r.site for r in self._records() if isinstance(r, UpdateAdmitted)}

    def _records(self) -> list[Record]:
        path = self.folder.path / "journal.jsonl"
        if not path.exists():
            return []
        return [r for _, r in read_records(path) if getattr(r, "round", None) == self.number]


_WHOM: dict[str, tuple[Callable[[Watch], bool], Victim]] = {
    "site": (Watch.training, Victim.AGENT),
    "worker": (Watch.training, Victim.WORKER),
    "serverapp": (Watch.others_admitted, Victim.SERVERAPP),
    "superlink": (Watch.others_admitted, Victim.SUPERLINK),
}
WHOM = tuple(_WHOM)


def _reports(record: Record, site: str) -> bool:
    return isinstance(record, UpdateReady) and record.site == site
