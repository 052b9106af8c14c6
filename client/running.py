"""A site's agent as a process: what signals do to it, and that it begins anew when site.toml is to be read again.

- SIGTERM and Ctrl-C finish the step in hand; a second one ends the process.
- SIGHUP looks at site.toml. One that cannot be used is named and changes nothing. Else the agent finishes and sends
  what is in hand, however long that takes, and another one begins in the same process, with all of the new file. If
  that one cannot begin after all, the process stays, says why, and tries again until somebody has mended it. Under a
  terminal SIGHUP ends the process as ever, since it says that the terminal is gone.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from client.agent import Agent
from client.leaving import has_left, insist_on_membership
from client.settings import FILE_NAME, load_settings
from client.site import check_settings, open_site
from shared import service_manager
from shared.allocator import reuse_freed_memory
from shared.clock import utc_now
from shared.errors import WardroundError
from shared.folder_format import insist_on_format
from shared.log_file import Log
from shared.remarks import remark, trouble

RETRY_S = 30.0  # between two tries to begin anew
_LOOK_S = 0.25


def serve(folder: Path, *, console: Callable[[str], None]) -> str:
    """Run agents for the site in `folder` until one is told to stop; returns the site's name.

    Args:
        folder: the site's.
        console: prints one line for a person; `[log]` of site.toml may have JSON printed instead.

    Raises:
        ConfigError: site.toml or the invitation cannot be used, or the site has left.
        ResourceError: another agent runs on this folder, or the disk is full.
        TrustError: a key file is open to others, or the ledger does not hold.
    """
    with closing(Log("agent", folder, now=utc_now, console=console)) as say:
        return _serve(folder, say)


def _serve(folder: Path, say: Log) -> str:
    signals = _Signals(folder, say)
    signals.install()
    name, anew = _run_one(folder, signals, say)
    met = ""
    while anew and not signals.stopped:
        if not met:
            say(remark("site.toml is read anew."))
        try:
            name, anew = _run_one(folder, signals, say)
            met = ""
        except WardroundError as error:
            if has_left(folder):
                raise
            if error.what != met:
                say(remark("Nothing is served until this is mended; tried again every {wait:.0f} s.", wait=RETRY_S))
                say(trouble(error))
            met = error.what
            _wait(signals)
    return name


def _run_one(folder: Path, signals: "_Signals", say: Log) -> tuple[str, bool]:
    """Run one agent to its end; the site's name, and whether another one should begin."""
    signals.reload_asked = False  # what is asked from here on is about a file that may have been read already
    insist_on_format(folder)
    settings = load_settings(folder / FILE_NAME)
    say.follow(settings.log, site=settings.site.name)
    site = open_site(folder, say=say)
    try:
        insist_on_membership(folder, open_studies=site.studies.active())
        agent = Agent(site)
        reuse_freed_memory()
        signals.hand_to(agent)
        agent.run()
    finally:
        site.ledger.close()
    return site.name, agent.starts_anew


def _wait(signals: "_Signals") -> None:
    """Until it is time for the next try, or somebody asks for it, or for the end."""
    until = time.monotonic() + RETRY_S
    while time.monotonic() < until and not (signals.stopped or signals.reload_asked):
        service_manager.tell("WATCHDOG=1")
        time.sleep(_LOOK_S)


class _Signals:
    """What the process is told, also while no agent runs that could hear it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.stopped = False
        self.reload_asked = False
        self._folder = folder
        self._say = say
        self._agent: Agent | None = None

    def install(self) -> None:
        """From now on, hear signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if not (sys.stdin and sys.stdin.isatty()):
            signal.signal(signal.SIGHUP, self._reload)

    def hand_to(self, agent: Agent) -> None:
        """From now on this agent is told, at first what came while there was none."""
        self._agent = agent
        if self.stopped:
            agent.stop()
        elif self.reload_asked:
            agent.reload()

    def _stop(self, number: int, _: object) -> None:
        self.stopped = True
        if self._agent is not None:
            self._agent.stop()
        signal.signal(number, signal.SIG_DFL)

    def _reload(self, _: int, __: object) -> None:
        try:
            check_settings(self._folder)
        except WardroundError as error:
            self._say(trouble(error, "site.toml is not read anew, and what was read before stays: {error}"))
        else:
            self._say(remark("site.toml is read anew when the step in hand is finished."))
            self.reload_asked = True
            if self._agent is not None:
                self._agent.reload()
