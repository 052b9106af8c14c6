"""A federation whose every part can be hit: each site behind a relay, spools on small disks, clocks that turn.

It knows how each fault is done and undone. When one strikes, and what it showed, is the benchmark's matter.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

import psutil

from client.imaging.settings import DataSettings
from deploy.bench.fault_plan import Fault, Place, Strike
from deploy.bench.relay import Line, Relay, reroute
from deploy.bench.small_disk import fill, make_room, small_disk
from deploy.bench.victims import Victim, process_of
from deploy.local import LocalFederation
from server.study_folder import StudyFolder
from shared.errors import ResourceError

RESTART_S = 1.0  # as a service manager waits
PATIENCE_S = 90.0  # a process that is asked to end may finish its work first
SITE_DISK_MIB, SERVER_DISK_MIB, STUDY_MIB = 8, 32, 1  # a study keeps its models, journal and report
SKEW_S = 7200.0
TURN_S = 0.05
LINES = {Fault.CUT: Line.CUT, Fault.SILENT: Line.SILENT, Fault.SLOW: Line.SLOW, Fault.NARROW: Line.NARROW}


class FaultBed:
    """The federation and what stands around it; made by `fault_bed`.

    Attributes:
        federation: the processes.
        relays: by site, its line to the server.
        temporary: the folder for temporary files of every process.
    """

    def __init__(self, federation: LocalFederation, relays: Mapping[str, Relay], *, skewed: Set[str]) -> None:
        self.federation = federation
        self.relays = relays
        self.temporary = federation.root / "tmp"
        self._skewed = skewed

    def begin(self) -> None:
        """Start the server and every site, and wait until all are connected.

        Raises:
            ResourceError: one does not come up.
        """
        self.federation.serve()
        for site in self.federation.sites:
            self.start_site(site)
        self.federation.wait_for(self._all_wait, patience_s=PATIENCE_S, what="connected sites")

    def _all_wait(self) -> bool:
        return all(_state_of(folder) == "waiting" for folder in self.federation.sites.values())

    def start_site(self, site: str) -> None:
        """Start a site as its hospital does; with a clock that turns, if the plan asks for one."""
        if site not in self._skewed:
            self.federation.start_site(site)
            return
        words = [str(self.federation.sites[site]), str(self._clock(site))]
        self.federation.start_command(site, [sys.executable, "-m", "deploy.bench.skewed_site", *words])

    def aim(self, strike: Strike, folder: StudyFolder) -> psutil.Process | None:
        """The process that a strike would hit, if it is one and runs now; finding it takes longer than a stage."""
        if not isinstance(strike.card.victim, Victim):
            return None
        with contextlib.suppress(ResourceError):
            return process_of(strike.card.victim, self.federation, folder, site=strike.site)
        return None

    def inflict(self, strike: Strike, folder: StudyFolder, aimed: psutil.Process | None = None) -> Callable[[], None]:
        """Do what a strike says, now; what is returned undoes it, after its time.

        Args:
            strike: what to do.
            folder: the study whose ServerApp may be meant.
            aimed: what `aim` found a moment ago.

        Raises:
            ResourceError: a process to hit does not come up.
        """
        match strike.card.victim:
            case Victim() as victim:
                there = aimed is not None and aimed.is_running()
                process = aimed if there and aimed else self._await(strike, folder)
                return self._hit(strike, victim, process)
            case Place.LINE:
                relay = self.relays[strike.site]
                relay.become(LINES[strike.card.fault])
                return lambda: relay.become(Line.WHOLE)
            case Place.CLOCK:
                clock = self._clock(strike.site)
                clock.write_text(str(SKEW_S))
                return clock.unlink
            case disk:
                place = self.disk(disk, strike.site)
                fill(place)
                return lambda: make_room(place)

    def disk(self, place: Place, site: str) -> Path:
        """Where a small disk is mounted, or would be."""
        if place is Place.SITE_DISK:
            return self.federation.sites[site] / "spool"
        return self.federation.federation / "studies"

    # ------------------------------------------------------------ processes

    def _hit(self, strike: Strike, victim: Victim, process: psutil.Process) -> Callable[[], None]:
        match strike.card.fault:
            case Fault.STOP:
                process.suspend()
                return process.resume
            case Fault.MEMORY:
                return _starved(process)
            case Fault.KILL:
                process.kill()
            case _:
                process.terminate()
        return lambda: self._again(victim, process, strike.site)

    def _again(self, victim: Victim, process: psutil.Process, site: str) -> None:
        """See a process end, and start again what nobody else would."""
        name = {Victim.AGENT: site, Victim.SUPERVISOR: "server"}.get(victim)
        if name is None:
            psutil.wait_procs([process], timeout=PATIENCE_S)
            return
        self.federation.processes.pop(name).wait(PATIENCE_S)
        time.sleep(RESTART_S)
        if victim is Victim.AGENT:
            self.start_site(site)
        else:
            self.federation.serve()

    def _await(self, strike: Strike, folder: StudyFolder) -> psutil.Process:
        deadline = time.monotonic() + PATIENCE_S
        while (process := self.aim(strike, folder)) is None:
            if time.monotonic() > deadline:
                raise ResourceError(f"There is no {strike.card.victim} to hit.", remedy="Read the federation's logs.")
            time.sleep(TURN_S)
        return process

    def _clock(self, site: str) -> Path:
        return self.federation.root / f"{site}.clock"


@contextlib.contextmanager
def fault_bed(
    root: Path, data: Mapping[str, DataSettings], *, seed: int, disks: bool, skewed: Set[str], studies: int = 1
) -> Iterator[FaultBed]:
    """Provision a federation in a new folder; at the end of the block nothing of it runs or is mounted.

    Args:
        root: the folder.
        data: each site's images.
        seed: which patients are for testing.
        disks: whether the spools, and the server's studies, get small disks of their own.
        skewed: sites whose clock can be turned.
        studies: how many the server's disk has to hold.
    """
    (root / "tmp").mkdir(parents=True)
    federation = LocalFederation(root, data, device="cpu", seed=seed, variables={"TMPDIR": str(root / "tmp")})
    with contextlib.ExitStack() as stack:
        relays = {site: stack.enter_context(Relay(federation.port)) for site in data}
        bed = FaultBed(federation, relays, skewed=skewed)
        for site, folder in federation.sites.items():
            reroute(federation.federation, folder, relays[site].port)
            if disks:
                stack.enter_context(small_disk(bed.disk(Place.SITE_DISK, site), mib=SITE_DISK_MIB))
        if disks:
            server_mib = SERVER_DISK_MIB + studies * STUDY_MIB
            stack.enter_context(small_disk(bed.disk(Place.SERVER_DISK, ""), mib=server_mib))
        stack.enter_context(federation)
        yield bed


def _state_of(site: Path) -> str | None:
    """What `site status` says of a site; None before it was started."""
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((site / "status.json").read_bytes())["state"])
    return None


def _starved(process: psutil.Process) -> Callable[[], None]:
    """Leave a process no address space beyond what it has (setrlimit(2), RLIMIT_AS)."""
    before = process.rlimit(psutil.RLIMIT_AS)
    process.rlimit(psutil.RLIMIT_AS, (1 << 20, before[1]))

    def feed() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_AS, before)

    return feed
