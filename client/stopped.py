"""Work on a site's folder that needs the agent to be stopped: it alone writes there while it runs."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.join import load_enrolment
from client.receipts import LEDGER_FILE
from shared.errors import ResourceError
from shared.ledger import Ledger


class AgentRuns(ResourceError):
    """The site's agent has not been stopped."""


@contextmanager
def agent_stopped(folder: Path) -> Iterator[None]:
    """Keep the site's agent from starting meanwhile.

    Raises:
        AgentRuns: it was not.
    """
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentRuns(
                "The site's agent runs; it alone may write here now.", remedy="Stop it first, and try again."
            ) from None
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
