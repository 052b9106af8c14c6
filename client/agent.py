"""The site agent: network, keys, door, ledger and spool. It imports no torch and no image library.

One loop: pull a message, let `Answering` deal with it, listen to the worker, send what came out
through the door. Whatever kills the agent, a restart finds the unanswered messages in the link's
folder and finished work in the spool. This is the only place that sends.
"""

import contextlib
import os
import random
import threading
import time
from collections import deque
from typing import Any

from client.answering import Answering
from client.egress import Released
from client.jobs import Failed, Place, ProbeDone, ProbeJob, Progress
from client.leaving import has_left
from client.line.pace import Pace
from client.link import Delayed, MessageGone, Parcel
from client.pausing import is_paused, warn_of_long_pause
from client.retention import Retention
from client.site import Site, write_status
from client.starting import note_start
from client.stopped import sole_agent
from shared import service_manager
from shared.address import UNADDRESSED
from shared.errors import (
    TEMPLATES,
    DiskFull,
    LinkError,
    Refusal,
    ResourceError,
    TrustError,
    WardroundError,
    WireCode,
    naming_disk_full,
)
from shared.monitoring import Figures, shown
from shared.remarks import remark, trouble

LISTEN_S = 0.25  # longest wait for the worker before the agent looks at its other duties
RECONNECT_S = (0.5, 5.0)
DRAIN_S = 60.0
PROBE_S = 120.0
ROOM_S = 15.0  # between two looks whether a full disk has room again
LOST_S = 60.0
STATUS_EVERY_S = 2.0


class Agent:
    """One site's agent; `run` returns when `stop` was called and the work in hand is spooled."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._inbox: deque[Parcel] = deque()
        self._outbox: deque[tuple[Parcel, Released]] = deque()
        self._answering = Answering(site, answer=self._post, later=self._take_up_later)
        self._retention = Retention(site, idle=lambda: self._answering.current is None)
        self._pace = Pace()
        self._stopping = False
        self._told_to_stop = False
        self._reloading = False
        self._cut: threading.Timer | None = None  # of the line, where stopping takes too long
        self._place: Place | None = None
        self._trouble: WardroundError | None = None
        self._idle_since = time.monotonic()
        self._status_at = 0.0
        self._turns = 0
        self._said: dict[str, Any] = {}

    def stop(self) -> None:
        """Ask `run` to finish: the step in hand is finished or spooled; a silent server gets a minute, no more."""
        self._told_to_stop = True
        self._finish()

    def _finish(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._cut = threading.Timer(DRAIN_S, self._site.link.give_up)
            self._cut.daemon = True
            self._cut.start()

    def reload(self) -> None:
        """Ask `run` to finish once the work in hand is done and sent, so that another agent reads new settings."""
        self._reloading = True

    @property
    def starts_anew(self) -> bool:
        """Whether `run` returned because of `reload`, and another agent should begin."""
        return self._reloading and not self._told_to_stop

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            ResourceError: another agent runs on this folder; or `DiskFull`, nothing can be written down.
        """
        lock = sole_agent(self._site.folder, site=self._site.name)
        with shown(self._site.settings.metrics, self._figures, say=self._site.say):
            self._serve()
        lock.close()

    def _serve(self) -> None:
        note_start(self._site)
        self._probe()
        service_manager.tell("READY=1")
        service_manager.feed_watchdog(self._moved)
        self._connect()
        while not self._stopping:
            self._turn()
        if not self.starts_anew:  # else systemd would wait for the end of a process that goes on, and kill it
            service_manager.tell("STOPPING=1")
        self._drain()
        self._site.worker.end()
        try:
            self._site.egress.settle()
            self._site.seldom.settle()
            self._site.ledger.sign_head(time=self._site.now())
        except DiskFull as error:
            self._complain(error)
        self._site.link.close()
        self._site.alarm.rest()
        if self._cut is not None:
            self._cut.cancel()
        self._report("stopped")

    def _turn(self) -> None:
        self._turns += 1
        self._send_all()
        now = time.monotonic()
        if self._pace.due_in(now) == 0.0:
            self._pull()
        self._listen(min(LISTEN_S, self._pace.due_in(time.monotonic())))
        self._rest_worker()
        self._end_if_left()
        self._end_to_reload()
        if now - self._status_at >= STATUS_EVERY_S:
            self._answering.renewals.warn(time.time())
            self._report(self._state())
            warn_of_long_pause(self._site)
            self._retention.turn(time.time())

    def _moved(self) -> tuple[int, ...]:
        """What changes while the agent works; in a long transfer that is its bytes."""
        traffic = self._site.link.traffic
        return (self._turns, *((traffic.bytes_up, traffic.bytes_down) if traffic is not None else ()))

    def _pull(self) -> None:
        """Take the next message; one whose model broke off on its way is taken up again."""
        try:
            with naming_disk_full():
                got = self._receive_next()
        except LinkError as error:
            self._complain(error)
            self._pace.failed(time.monotonic() + random.uniform(*RECONNECT_S))  # noqa: S311  jitter, not a secret
            return
        except DiskFull as error:
            self._complain(error)
            self._pace.failed(time.monotonic() + ROOM_S)
            return
        self._recovered()
        if got:
            self._pace.news()
            self._report(self._state())
        else:
            self._pace.polled(time.monotonic(), busy=self._busy(), working=self._answering.current is not None)

    def _receive_next(self) -> bool:
        if not self._inbox and (parcel := self._site.link.pull()) is not None:
            self._inbox.append(parcel)
        if not self._inbox:
            return False
        try:
            self._answering.receive(self._inbox[0])
        except Delayed:  # its sender stopped; other studies' messages are taken meanwhile
            self._site.link.put_aside(self._inbox[0])
        except MessageGone:  # before its model was here: the server was restarted, or asks anew
            self._site.link.drop(self._inbox[0])
        self._inbox.popleft()
        return True

    def _take_up_later(self, parcel: Parcel) -> None:
        self._inbox.append(parcel)
        self._pace.failed(time.monotonic() + ROOM_S)

    def _listen(self, timeout_s: float) -> None:
        worker = self._site.worker
        if worker.pid is None and not worker.crashed():
            time.sleep(timeout_s)
            return
        for event in worker.listen(timeout_s):
            if not isinstance(event, Progress):
                self._pace.news()
            if not self._answering.hear(event):
                break
        if worker.crashed():
            self._answering.worker_died()

    def _post(self, parcel: Parcel, released: Released) -> None:
        self._outbox.append((parcel, released))

    def _send_all(self) -> None:
        while self._outbox:
            try:
                with naming_disk_full():
                    wanted = self._site.link.send(*self._outbox[0])
            except Delayed:  # a crash left an upload that Flower gives up in a while
                self._outbox.rotate(-1)
                return
            except (LinkError, DiskFull) as error:
                self._complain(error)
                return
            except TrustError as error:
                self._recall(error)
                return
            self._recovered()
            self._outbox.popleft()
            if not wanted:
                self._site.say(remark("The server no longer waits for this answer; it stays in the spool."))

    def _recall(self, error: TrustError) -> None:
        """The update is not the one that was released: the answer is given up, here and in the ledger."""
        parcel, released = self._outbox[0]
        try:
            self._site.egress.recall(released)
        except DiskFull as full:
            self._complain(full)
            return
        self._site.say(trouble(error))
        self._site.alarm.ring(Refusal(WireCode.CONTRACT), study=UNADDRESSED.study, number=UNADDRESSED.round)
        self._outbox.popleft()
        with contextlib.suppress(LinkError):
            self._site.link.drop(parcel)

    def _connect(self) -> None:
        while not self._stopping:
            self._turns += 1
            self._end_to_reload()
            try:
                self._site.link.connect()
                self._inbox.extend(self._site.link.unanswered())
            except LinkError as error:
                self._complain(error)
                self._report(self._state())
                time.sleep(random.uniform(*RECONNECT_S))  # noqa: S311  jitter, not a secret
                continue
            self._recovered()
            self._site.say(remark("Connected to the federation; waiting for work."))
            return

    def _probe(self) -> None:
        """Let the worker find its device before the first study needs it.

        Raises:
            ResourceError: the device that the configuration names cannot be used.
        """
        worker = self._site.worker
        worker.submit(ProbeJob())
        deadline = time.monotonic() + PROBE_S
        while not self._stopping and time.monotonic() < deadline and not worker.crashed():
            for event in worker.listen(LISTEN_S):
                if isinstance(event, ProbeDone):
                    self._place = event.place
                    self._site.say(remark("Computing on {device} ({reason}).", **event.place.model_dump()))
                    return
                if isinstance(event, Failed):
                    worker.end()
                    raise ResourceError(TEMPLATES[event.code], remedy="Set compute.device = auto, or see worker.log.")
        worker.end()
        if not self._stopping:
            raise ResourceError("The worker does not start.", remedy="See worker.log in the site's folder.")

    def _drain(self) -> None:
        """Finish what the worker has in hand, within a minute, and send what can be sent."""
        deadline = time.monotonic() + DRAIN_S
        while self._answering.current is not None and time.monotonic() < deadline:
            self._listen(LISTEN_S)
        self._send_all()

    def _rest_worker(self) -> None:
        """End a worker without work after a while: sooner while the server is lost, for nobody knows how long."""
        idle_s = self._site.settings.compute.idle_s
        kept_s = min(idle_s, LOST_S) if isinstance(self._trouble, LinkError) else idle_s
        if self._answering.current is not None:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > kept_s or is_paused(self._site.folder):
            self._site.worker.end()

    def _end_to_reload(self) -> None:
        if self._reloading and self._answering.current is None and not self._outbox:
            self._finish()

    def _end_if_left(self) -> None:
        if has_left(self._site.folder) and not (self._busy() or self._outbox or self._inbox or self._stopping):
            self._site.say(remark("This site has left the federation; every study that was open here has been told."))
            self.stop()

    def _busy(self) -> bool:
        return self._answering.current is not None or bool(self._site.studies.active())

    def _complain(self, error: WardroundError) -> None:
        """Say a trouble once, not at every try."""
        if self._trouble is None or error.what != self._trouble.what:
            self._site.say(trouble(error))
            self._trouble = error

    def _recovered(self) -> None:
        if self._trouble is not None:
            back = remark("The line to the server works again.")
            self._site.say(back if isinstance(self._trouble, LinkError) else remark("The trouble is over."))
            self._trouble = None

    def _state(self) -> str:
        if isinstance(self._trouble, LinkError):
            return "offline"
        if (task := self._answering.current) is not None:
            return task.job.job
        return "paused" if is_paused(self._site.folder) else "waiting"

    def _report(self, state: str) -> None:
        site, task = self._site, self._answering.current
        self._status_at = time.monotonic()
        self._said = {
            "site": site.name,
            "state": state,
            "trouble": self._trouble.what if self._trouble else None,
            "study": task.message.address.study if task else None,
            "round": task.round if task else None,
            "steps": task.progress.steps if task and task.progress else None,
            "steps_planned": task.progress.planned if task and task.progress else None,
            "stepped": task.signed if task else None,
            "device": self._place.device if self._place else None,
            "fell_back": self._place.fell_back if self._place else None,
            "pid": os.getpid(),
            "worker_pid": site.worker.pid,
            "queued": len(self._inbox),
            "unsent": len(self._outbox),
            "bytes_up": site.link.traffic.bytes_up,
            "bytes_down": site.link.traffic.bytes_down,
            "updated": site.now(),
        }
        with contextlib.suppress(OSError):  # a view for the operator, which the next one replaces
            write_status(site.folder, self._said)

    def _figures(self) -> Figures:
        from client.figures import SiteFigures  # and what it needs, where site.toml asks for them

        return SiteFigures(self._site, said=lambda: self._said, moved=self._moved)
