"""A site's agent as a process: what signals do to it, and that it begins anew when site.toml is to be read again.

- SIGTERM and Ctrl-C finish the step in hand; a second one ends the process.
- SIGHUP looks at site.toml. One that cannot be used is named and changes nothing. Else the agent finishes and sends
  what is in hand, however long that takes, and another one begins in the same process, with all of the new file. Under
  a terminal SIGHUP ends the process as ever, since it says that the terminal is gone.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from client.agent import Agent
from client.leaving import insist_on_membership
from client.site import check_settings, open_site
from shared.allocator import reuse_freed_memory
from shared.errors import WardroundError


def serve(folder: Path, *, say: Callable[[str], None]) -> str:
    """Run agents for the site in `folder` until one is told to stop; returns the site's name.

    Args:
        folder: the site's.
        say: prints one line on the site's console.

    Raises:
        ConfigError: site.toml or the invitation cannot be used, or the site has left.
        ResourceError: another agent runs on this folder, or the disk is full.
        TrustError: a key file is open to others, or the ledger does not hold.
    """
    while True:
        site = open_site(folder, say=say)
        insist_on_membership(folder, open_studies=site.studies.active())
        agent = Agent(site)
        reuse_freed_memory()
        _listen(agent, folder, say)
        agent.run()
        site.ledger.close()
        if not agent.starts_anew:
            return site.name
        say("site.toml is read anew.")


def _listen(agent: Agent, folder: Path, say: Callable[[str], None]) -> None:
    def stop(number: int, _: object) -> None:
        agent.stop()
        signal.signal(number, signal.SIG_DFL)

    def reload(_: int, __: object) -> None:
        try:
            check_settings(folder)
        except WardroundError as error:
            say(f"site.toml is not read anew, and what was read before stays: {error.what} {error.remedy}")
        else:
            say("site.toml is read anew when the step in hand is finished.")
            agent.reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if not (sys.stdin and sys.stdin.isatty()):
        signal.signal(signal.SIGHUP, reload)
