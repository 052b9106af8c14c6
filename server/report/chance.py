"""Whether AUROCs of different patients differ by more than chance: pure formulas over figures and their errors.

A mean Dice, which is a share with an error, too, is compared in the same way.

All tests are made on the logit scale, where an AUROC near 1 is not taken for more certain than it is: on its
own scale twenty alike sites of 20 patients each are called unlike in a quarter of all cases where 5 % was asked
for, on the logit scale in at most 10 % (`tests/server/report/test_chance.py` measures both). Snell et al., Stat
Methods Med Res 27, 2018, advise the same scale. An error carries over by the delta method, error / (A (1 - A)),
and the errors of two samples without a common patient add in squares.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

TOO_FEW = "not compared: fewer than 5 patients on one side of a class"
NO_SPREAD = "not compared: every patient is ranked right, or none, which leaves no spread to compare by"
Z_95 = 1.959963984540054
FEWEST = 5  # patients on the smaller side of a class; with fewer the error itself is too uncertain
_SLICES = 2000  # of the integral behind `gap_by_chance`


@dataclass(frozen=True)
class Area:
    """An AUROC or mean Dice, its standard error, and how many patients stand on the smaller side of a class, or are
    measured."""

    value: float
    error: float
    fewest: int

    @property
    def fault(self) -> str | None:
        """Why it cannot be compared with another; None if it can."""
        if self.fewest < FEWEST:
            return TOO_FEW
        return None if 0 < self.value < 1 and self.error > 0 else NO_SPREAD

    @property
    def logit(self) -> float:
        """The AUROC on the logit scale."""
        return math.log(self.value / (1 - self.value))

    @property
    def logit_error(self) -> float:
        """Its standard error there."""
        return self.error / (self.value * (1 - self.value))

    def limits(self) -> tuple[float, float]:
        """The 95 % interval that the logit scale gives, on the plain scale."""
        half = Z_95 * self.logit_error
        return _share(self.logit - half), _share(self.logit + half)


@dataclass(frozen=True)
class Difference:
    """One AUROC less another, with its 95 % interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's Q over `df` + 1 AUROCs, and which share of their variation is not chance (I squared).

    `i_squared_low` and `i_squared_high` are None for two AUROCs, which tell nothing about it.
    """

    q: float
    df: int
    p: float
    i_squared: float
    i_squared_low: float | None
    i_squared_high: float | None


def difference(one: Area, other: Area) -> Difference:
    """`one` less `other`, of different patients.

    The interval joins the distances of both to their own logit limits (Zou and Donner, Stat Med 27, 2008), so
    it stays within [-1, 1] and is as wide to each side as the data say.

    Raises:
        ValueError: one of them has a fault.
    """
    _check((one, other))
    (low, high), (other_low, other_high) = one.limits(), other.limits()
    apart = one.value - other.value
    z = (one.logit - other.logit) / math.hypot(one.logit_error, other.logit_error)
    return Difference(
        value=apart,
        low=apart - math.hypot(one.value - low, other_high - other.value),
        high=apart + math.hypot(high - one.value, other.value - other_low),
        p=math.erfc(abs(z) / math.sqrt(2)),
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Several p values adjusted for being several (Holm, Scand J Stat 6, 1979), in their own order."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    stepped = (min(1.0, (len(ps) - rank) * ps[i]) for rank, i in enumerate(order))
    adjusted = dict(zip(order, itertools.accumulate(stepped, max), strict=True))
    return [adjusted[i] for i in range(len(ps))]


def heterogeneity(areas: Sequence[Area]) -> Heterogeneity:
    """Cochran's Q of two or more AUROCs, with I squared and its interval (Higgins and Thompson, Stat Med 21, 2002).

    Raises:
        ValueError: there are fewer than two, or one has a fault.
    """
    _check(areas)
    if len(areas) < 2:
        raise ValueError("one AUROC does not vary")
    mean = _mean(areas)
    q = math.fsum(((area.logit - mean) / area.logit_error) ** 2 for area in areas)
    df = len(areas) - 1
    low, high = _i_squared_limits(q, df) if df > 1 else (None, None)
    return Heterogeneity(q, df, chi_square_tail(q, df), max(0.0, 1 - df / q) if q > 0 else 0.0, low, high)


def gap_by_chance(areas: Sequence[Area]) -> float:
    """How far the best and the worst AUROC are expected to lie apart if all sites had the same true one.

    The mean range of independent normal variables on the logit scale, the integral over x from 0 to 1 of
    1 - prod F(x) - prod (1 - F(x)). Raises as `heterogeneity`.
    """
    _check(areas)
    mean = _mean(areas)
    total = 0.0
    for n in range(_SLICES):
        x = (n + 0.5) / _SLICES
        at = math.log(x / (1 - x)) - mean
        below = [0.5 * math.erfc(-at / area.logit_error / math.sqrt(2)) for area in areas]
        total += 1 - math.prod(below) - math.prod(1 - b for b in below)
    return total / _SLICES


def chi_square_tail(x: float, df: int) -> float:
    """P(chi-square with `df` degrees of freedom > x), from Q(a + 1, t) = Q(a, t) + t^a e^-t / Gamma(a + 1)."""
    t = x / 2
    if t <= 0:
        return 1.0
    a, tail = (1.0, math.exp(-t)) if df % 2 == 0 else (0.5, math.erfc(math.sqrt(t)))
    while a < df / 2:
        tail += math.exp(a * math.log(t) - t - math.lgamma(a + 1))
        a += 1
    return min(1.0, tail)


def _mean(areas: Sequence[Area]) -> float:
    """On the logit scale, each weighing as much as it is certain."""
    weights = [area.logit_error**-2 for area in areas]
    return math.fsum(w * area.logit for w, area in zip(weights, areas, strict=True)) / math.fsum(weights)


def _i_squared_limits(q: float, df: int) -> tuple[float, float]:
    """By the test-based error of ln H, where H squared is Q / df, and not below 1."""
    k = df + 1
    if q > k:
        error = 0.5 * (math.log(q) - math.log(df)) / (math.sqrt(2 * q) - math.sqrt(2 * k - 3))
    else:
        error = math.sqrt((1 - 1 / (3 * (k - 2) ** 2)) / (2 * (k - 2)))
    centre = max(0.0, 0.5 * math.log(q / df)) if q > 0 else 0.0
    low, high = (max(0.0, 1 - math.exp(-2 * (centre + sign * Z_95 * error))) for sign in (-1, 1))
    return low, high


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def _check(areas: Sequence[Area]) -> None:
    if fault := next((area.fault for area in areas if area.fault), None):
        raise ValueError(f"an AUROC cannot be compared: {fault}")
