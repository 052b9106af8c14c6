"""What the checks of a federation look at, each part read when it is first asked for."""

import fcntl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from server.federation import Federation, load_federation


@dataclass(frozen=True)
class Grounds:
    """A federation, as it lies in its folder on the machine that serves it; `clock` gives Unix seconds."""

    folder: Path
    clock: Callable[[], float] = time.time

    @cached_property
    def federation(self) -> Federation:
        """What the folder holds; raises as `load_federation`."""
        return load_federation(self.folder)

    def served(self) -> bool:
        """Whether `wardround federation serve` runs on this folder now."""
        try:
            with (self.folder / "run" / "serve.lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
