"""One agent per folder, which alone writes there while it runs; and work that needs it to be stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from client.join import load_enrolment
from client.receipts import LEDGER_FILE
from shared.durable import try_lock
from shared.errors import ResourceError
from shared.ledger import Ledger

LOCK_FILE = "agent.lock"


class AgentRuns(ResourceError):
    """The site's agent has not been stopped."""


def sole_agent(folder: Path, *, site: str) -> IO[str]:
    """The lock of the one agent per folder; it goes with the process, or when the file is closed.

    Raises:
        ResourceError: another agent has it.
    """
    lock = try_lock(folder / LOCK_FILE)
    if lock is None:
        raise ResourceError(
            f"Another agent already serves the site {site} from this folder.",
            remedy="Use `wardround site status`; stop the other one first.",
        )
    return lock


@contextmanager
def agent_stopped(folder: Path) -> Iterator[None]:
    """Keep the site's agent from starting meanwhile.

    Raises:
        AgentRuns: it was not.
    """
    lock = try_lock(folder / LOCK_FILE)
    if lock is None:
        raise AgentRuns("The site's agent runs; it alone may write here now.", remedy="Stop it first, and try again.")
    with lock:
        yield


@contextmanager
def stopped_ledger(folder: Path, *, now: str) -> Iterator[Ledger]:
    """The site's own ledger, while its agent is stopped.

    Args:
        folder: the site's.
        now: RFC 3339, UTC.

    Raises:
        AgentRuns: it was not.
        ResourceError: the disk refused.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    enrolment = load_enrolment(folder)
    key, name = enrolment.identity_key, enrolment.invitation.site
    with agent_stopped(folder), Ledger.open(folder / LEDGER_FILE, key=key, signer=name, now=now) as ledger:
        yield ledger
