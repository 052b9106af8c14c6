"""`wardround federation serve`: keeps the SuperLink up and the studies going; leaves nothing behind.

It registers the roster's keys at each start of the SuperLink, takes them in and out as the roster
changes or a key's time begins or ends, starts it anew with a renewed certificate, starts queued studies as
`server/queue.py` lets them, starts a study again whose ServerApp died, and takes everything down with it
when it ends.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from server.app import FEDERATION_VARIABLE
from server.conduct import NODES_FILE
from server.engine.doorkeeper import TALKATIVE, Doorkeeper
from server.engine.renewed import Shown, trusted_file
from server.engine.served import Served
from server.engine.superlink import SuperLink
from server.federation import Federation, listen_address, load_federation, serving_lock
from server.owner import read_owner
from server.queue import Contender, to_start, waits_for_sites
from server.room import has_room
from server.study_folder import StudyFolder, StudyState, all_studies
from shared import service_manager
from shared.clock import utc_now
from shared.durable import try_lock, write_atomically
from shared.errors import ResourceError, TrustError, WardroundError
from shared.log_file import Log
from shared.monitoring import Figures, shown
from shared.remarks import remark, trouble

TURN_S = 0.25
CLAIM_PATIENCE_S = 60.0  # a ServerApp that has not claimed its study by then is started again
START_TRIES = 5
RESTART_WAIT_S = (0.5, 30.0)
NO_RUN = 0


@dataclass
class Attempt:
    """The last start of a study's ServerApp.

    `mark` is what the study had reached, and `tries` how often it was started there.
    """

    mark: object
    tries: int
    run_id: int
    epoch_before: int
    at: float


class Supervisor:
    """Serves one federation until `stop` was called.

    Args:
        folder: the federation's folder.
        say: prints one line on the coordinator's console.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        self._folder = folder.resolve()
        self._say = say
        self._stopping = False
        self._served = Served()
        self._trouble: str | None = None
        self._roster_read_at, self._roster_version = -1, 1
        self._roster_holds_until = 0.0
        self._attempts: dict[str, Attempt] = {}  # by study
        self._wait_s = RESTART_WAIT_S[0]
        self._federation = federation = load_federation(self._folder)
        metrics, behind = federation.settings.metrics, federation.settings.proxied_port
        (self._folder / "run").mkdir(exist_ok=True)
        self._superlink = SuperLink(
            run=self._folder / "run",
            host=listen_address(federation.settings.host) if behind is None else "127.0.0.1",
            port=behind or federation.settings.fleet_port,
            certificate=federation.server_certificate,
            key=federation.server_key,
            ca=trusted_file(federation),
            health=(metrics.host, metrics.grpc_port) if metrics.grpc_port else None,
            environment={FEDERATION_VARIABLE: str(self._folder), **TALKATIVE},
        )
        self._shown = Shown(federation, clock=time.time)
        self._doorkeeper = Doorkeeper(self._folder, self._superlink, say=say, clock=time.time)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping = True

    def run(self) -> None:
        """Serve.

        Raises:
            ResourceError: another supervisor serves this folder, or the port for metrics is taken.
            LinkError: the SuperLink cannot be started at all (port taken, certificate unreadable or expired).
        """
        lock = self._lock()
        try:
            with shown(self._federation.settings.metrics, self._figures, say=self._say):
                self._serve()
        finally:
            service_manager.tell("STOPPING=1")
            self._superlink.stop()
            (self._folder / NODES_FILE).unlink(missing_ok=True)
            lock.close()

    def _serve(self) -> None:
        self._start_superlink()
        service_manager.tell("READY=1")
        service_manager.feed_watchdog(lambda: self._served.turns)
        while not self._stopping:
            self._served.turns += 1
            self._turn()
            time.sleep(TURN_S)

    def _figures(self) -> Figures:
        from server.figures import ServerFigures  # and what it needs, where federation.toml asks for them

        return ServerFigures(self._federation, self._served, held_until=self._superlink.held_until)

    def _turn(self) -> None:
        if not self._superlink.alive():
            self._say(remark("The SuperLink ended; starting it again.", level="error"))
            self._restart_superlink()
            return
        try:
            self._doorkeeper.turn()
            if self._shown.outdated(self._committed):
                renewed = "The server's certificate was renewed; starting the SuperLink with it, between two rounds."
                self._say(remark(renewed))
                self._restart_superlink()
                return
            if self._follow_roster():
                self._move_studies()
        except WardroundError as error:
            self._complain(trouble(error))
        except OSError as error:
            refused = "The disk under the federation refused ({why}). Mend it or make room."
            self._complain(remark(refused, level="error", why=error.strerror))

    def _complain(self, line: str) -> None:
        """Say a trouble once, not at every turn; whatever it is, the server goes on."""
        if line != self._trouble:
            self._say(line)
            self._trouble = line

    # ------------------------------------------------------------ the SuperLink

    def _start_superlink(self) -> None:
        federation = load_federation(self._folder)
        self._doorkeeper.check_certificate()
        trusted_file(federation)
        self._shown = Shown(federation, clock=time.time)
        self._superlink.start()
        self._served.superlinks += 1
        self._roster_read_at = -1
        self._forget_runs()
        self._register_roster()
        self._wait_s = RESTART_WAIT_S[0]
        words = "Serving on port {port} with TLS; SuperLink is process {pid}."
        self._say(remark(words, port=federation.settings.fleet_port, pid=self._superlink.pid))

    def _restart_superlink(self) -> None:
        """Once it has served, a trouble of the SuperLink never ends the supervisor."""
        try:
            self._start_superlink()
        except WardroundError as error:
            self._say(trouble(error))
            time.sleep(self._wait_s)
            self._wait_s = min(2 * self._wait_s, RESTART_WAIT_S[1])

    def _follow_roster(self) -> bool:
        """Take up a changed roster, if it is sound and no older one.

        While it is not, what was let in before stays as it is, and no study begins.
        """
        try:
            self._register_roster()
        except TrustError as error:
            self._complain(trouble(error))
            return False
        return True

    def _register_roster(self) -> None:
        """Make exactly the roster's keys that hold now known to the SuperLink, and the node ids to the ServerApps."""
        changed, now = (self._folder / "roster.signed").stat().st_mtime_ns, time.time()
        if changed == self._roster_read_at and now < self._roster_holds_until:
            return
        federation: Federation = load_federation(self._folder, at_least=self._roster_version)
        self._roster_version = federation.roster.version
        self._doorkeeper.knows(federation.roster.entries)
        entries = federation.roster.entries
        admitted = [entry for entry in entries if entry.valid(now)]
        nodes = {entry.site: self._superlink.register(entry.transport_key.encode(), entry.site) for entry in admitted}
        write_atomically(self._folder / NODES_FILE, json.dumps(nodes).encode())
        self._superlink.keep_only({entry.transport_key for entry in admitted})
        self._roster_read_at, self._trouble = changed, None
        times = (at for entry in entries for at in (entry.not_before, entry.not_after) if at > now)
        self._roster_holds_until = min(times, default=math.inf)
        who = ", ".join(nodes) or "nobody yet"
        self._say(remark("{asked} sites may connect: {who}.", asked=len(nodes), who=who))

    # ------------------------------------------------------------ the studies

    def _move_studies(self) -> None:
        """Start what may run now and has no process."""
        found = [contender for folder in all_studies(self._folder) if (contender := self._contender(folder))]
        for contender in to_start(found):
            folder = StudyFolder(self._folder / "studies" / contender.study)
            if not has_room(folder):
                full = "Study {study} waits: the server's disk is full. Make room on it."
                self._complain(remark(full, level="error", study=folder.name, code="disk_full"))
                continue
            self._start(folder, launched=contender.since if contender.state is StudyState.QUEUED else None)

    def _committed(self) -> dict[str, int]:
        """Of each study that a process conducts, how many rounds are committed."""
        conducted = (folder for folder in all_studies(self._folder) if self._has_owner(folder))
        return {folder.name: int(folder.read_status().get("committed", 0)) for folder in conducted}

    def _contender(self, folder: StudyFolder) -> Contender | None:
        """The study's claim to a place; None if it neither runs nor waits for one."""
        try:
            standing = folder.standing()
        except WardroundError as error:
            self._complain(trouble(error))
            return None
        if standing.state not in (StudyState.RUNNING, StudyState.QUEUED):
            return None
        owned = self._has_owner(folder)
        return Contender(
            study=folder.name,
            state=standing.state,
            since=standing.since,
            has_process=owned or self._starting(folder),
            waits_for_sites=owned and waits_for_sites(folder.read_status()),
        )

    @staticmethod
    def _has_owner(folder: StudyFolder) -> bool:
        owner = read_owner(folder.path)
        return owner is not None and owner.alive()

    def _starting(self, folder: StudyFolder) -> bool:
        """Whether a ServerApp was started for this study and may still claim it."""
        attempt = self._attempts.get(folder.name)
        if attempt is None or attempt.run_id == NO_RUN:
            return False
        owner = read_owner(folder.path)
        claimed = owner is not None and owner.epoch > attempt.epoch_before
        over = self._superlink.run_status(attempt.run_id).phase == "finished"
        return not claimed and not over and time.monotonic() - attempt.at < CLAIM_PATIENCE_S

    def _start(self, folder: StudyFolder, *, launched: str | None) -> None:
        """Start a study's ServerApp; progress, or a person who launches it again, forgives earlier failures.

        Args:
            folder: the study.
            launched: when it was queued; None if it was running.
        """
        owner, last = read_owner(folder.path), self._attempts.get(folder.name)
        mark = (folder.read_status().get("committed", 0), launched)
        tries = last.tries + 1 if last and last.mark == mark else 1
        if tries > START_TRIES:
            reason = f"The study's process ended {START_TRIES} times without finishing a round."
            folder.move(StudyState.FAILED, now=utc_now(), reason=reason, remedy="See the log in the study's folder.")
            words = "Study {study}: {why} See the log in its folder."
            self._say(remark(words, level="error", study=folder.name, why=reason))
            return
        if last and last.run_id != NO_RUN:
            self._superlink.stop_run(last.run_id)  # else a site waits a minute for what a dead ServerApp was sending
        run_id = self._superlink.start_run({"study": folder.name})
        self._served.studies[folder.name] += 1
        self._attempts[folder.name] = Attempt(mark, tries, run_id, owner.epoch if owner else 0, time.monotonic())
        self._say(remark("Study {study}: {doing}.", study=folder.name, doing="resuming" if owner else "starting"))

    def _forget_runs(self) -> None:
        """The runs of a SuperLink that ended; how often a study was tried is remembered."""
        for attempt in self._attempts.values():
            attempt.run_id = NO_RUN

    def _lock(self) -> IO[str]:
        """One supervisor per folder; the lock goes with the process."""
        lock = try_lock(serving_lock(self._folder))
        if lock is None:
            raise ResourceError(
                "This federation is served already.", remedy="Stop the other `wardround federation serve` first."
            )
        return lock


def serve(folder: Path) -> None:
    """Serve a federation until SIGTERM or Ctrl-C; what happens is said on standard error."""
    with closing(Log("server", folder.resolve(), now=utc_now, console=_print)) as say:
        say.follow(load_federation(folder).settings.log)
        supervisor = Supervisor(folder, say=say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        supervisor.run()


def _print(line: str) -> None:
    print(f"{utc_now()} {line}", file=sys.stderr, flush=True)
