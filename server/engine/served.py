"""What a supervisor counts of its own work, for whoever wants to see it."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Served:
    """Since it was started.

    Attributes:
        turns: of its loop.
        superlinks: that it started.
        studies: processes that it started, by study.
    """

    turns: int = 0
    superlinks: int = 0
    studies: Counter[str] = field(default_factory=Counter)
