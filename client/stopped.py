"""Work on a site's folder that needs the agent to be stopped: it alone writes there while it runs."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ResourceError


@contextmanager
def agent_stopped(folder: Path) -> Iterator[None]:
    """Keep the site's agent from starting meanwhile.

    Raises:
        ResourceError: it runs.
    """
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResourceError(
                "The site's agent runs; it alone may write here now.", remedy="Stop it first, and try again."
            ) from None
        yield
