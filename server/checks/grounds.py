"""What the checks of a federation look at, each part read when it is first asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from server.federation import Federation, is_served, load_federation


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
        return is_served(self.folder)
