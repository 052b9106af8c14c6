"""How large updates are: one update measured, and the bound that the last rounds set for the next.

Measures only; what follows from a figure is decided by admission.
"""

import math
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from server.aggregate import CHANGE_BOUND
from shared.section import Section
from shared.update import Array, PackedFile

HISTORY_ROUNDS = 3
MEDIAN_FLOOR = 1e-6  # a median of zero (nobody trained) still lets rounding through
INTEGER_BOUND = 2**40

Norms = tuple[Annotated[float, Field(ge=0)], ...]


class NormHistory(Section):
    """L2 norms of the admitted updates, one tuple per committed round, the newest last, at most three."""

    rounds: Annotated[tuple[Norms, ...], Field(max_length=HISTORY_ROUNDS)] = ()

    def after(self, norms: Norms) -> Self:
        """The history once a round with these admitted norms is committed."""
        return type(self)(rounds=(*self.rounds, tuple(sorted(norms)))[-HISTORY_ROUNDS:])

    def bound(self, factor: float) -> float:
        """Largest norm to admit: `factor` times the median; infinity while there is no history."""
        norms = [norm for norms in self.rounds for norm in norms]
        return factor * max(median(norms), MEDIAN_FLOOR) if norms else math.inf


@dataclass(frozen=True)
class Measured:
    """One update in three figures.

    Attributes:
        finite: no change is NaN or infinite.
        in_range: every change lies within +-2**22, every integer in [0, 2**40].
        norm: L2 over all changes; only meaningful where both others hold.
    """

    finite: bool
    in_range: bool
    norm: float


def measure(packed: PackedFile) -> Measured:
    """Read an update once, piece by piece; the same bytes always have the same norm.

    Raises:
        TrustError: a tensor of it is none that a model of ours has.
    """
    squares, finite, in_range = 0.0, True, True
    for _, _, values in packed.pieces():
        if values.dtype.kind == "i":
            in_range = in_range and _within(values, 0, INTEGER_BOUND)
            continue
        within = _within(values, -CHANGE_BOUND, CHANGE_BOUND)  # as nothing is that is not finite
        finite = finite and (within or bool(np.isfinite(values).all()))
        in_range = in_range and within
        squares += _sum_of_squares(values) if in_range else 0.0
    return Measured(finite, in_range, math.sqrt(squares))


def _within(values: Array, low: float, high: float) -> bool:
    return bool(values.min() >= low and values.max() <= high)


def _sum_of_squares(values: Array) -> float:
    wide = values.astype(np.float64)
    return float(np.square(wide, out=wide).sum())
