"""How a measured value grows with the rounds: a line through the samples by least squares. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """What a process held (bytes, counts) when so many rounds were committed."""

    pid: int
    round: int
    memory: int
    descriptors: int
    threads: int


KINDS = ("memory", "descriptors", "threads")


def slope_per_100(rounds: Sequence[int], values: Sequence[float]) -> float | None:
    """Growth per 100 rounds of the line that fits best; None where the samples show no two rounds."""
    if len(set(rounds)) < 2:
        return None
    x, y = np.asarray(rounds, np.float64), np.asarray(values, np.float64)
    x -= x.mean()
    return float(100 * (x @ (y - y.mean())) / (x @ x))


def settled(samples: Sequence[Sample], *, warm_up: int) -> list[Sample]:
    """The samples of the process that was last in this part, after so many rounds."""
    return [s for s in samples if s.pid == samples[-1].pid and s.round > warm_up] if samples else []


def growth(samples: Sequence[Sample]) -> dict[str, float | int | None]:
    """Slopes of one process per 100 rounds, and what it held at the end."""
    rounds = [sample.round for sample in samples]
    found: dict[str, float | int | None] = {"samples": len(samples)}
    for kind in KINDS:
        values = [getattr(sample, kind) for sample in samples]
        slope = slope_per_100(rounds, values)
        found |= {f"{kind}_per_100_rounds": None if slope is None else round(slope, 3)}
        found |= {f"{kind}_at_end": values[-1] if values else None}
    return found
