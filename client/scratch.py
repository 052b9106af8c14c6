"""Folders in which a check of the site tries things out, beside what the site keeps.

A check holds the lock of its own (flock(2)), and removes it. Of one that was killed the lock is free, so that the next
check, or the agent when it starts, removes the folder: it holds a model and an update of some gigabytes.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".check-"


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder in the site's, gone at the end."""
    sweep(folder)
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield place
    finally:
        os.close(held)
        shutil.rmtree(place, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what checks left that did not come to their end; what a running one uses stays."""
    for place in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(held)
