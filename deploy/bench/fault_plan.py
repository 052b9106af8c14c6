"""Which fault strikes whom, when and for how long: drawn from a seed, before anything runs.

Faults and stages are dealt as cards are: each comes once before any comes again. Of three moments two
are a stage's beginning and one is drawn uniformly over the time that the undisturbed study took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from deploy.bench.moments import ONCE, ORDER, Point, Reached
from deploy.bench.victims import Victim

T = TypeVar("T")
HOLD_S = (2.0, 6.0)
_WALL_EVERY = 3


class Fault(StrEnum):
    """What is done."""

    KILL = "kill -9"
    STOP = "stop"
    RESTART = "restart"
    CUT = "cut"
    SILENT = "silent"
    SLOW = "slow"
    NARROW = "narrow"
    DISK = "full"
    MEMORY = "exhaust"
    CLOCK = "skew"


class Place(StrEnum):
    """What can be hit beside a process."""

    LINE = "line"
    SITE_DISK = "site disk"
    SERVER_DISK = "server disk"
    CLOCK = "clock"


@dataclass(frozen=True)
class Card:
    """One kind of fault."""

    fault: Fault
    victim: Victim | Place


@dataclass(frozen=True)
class Strike:
    """One run's fault.

    Attributes:
        run: counts from 1.
        card: what is done to whom.
        site: whose process, line, disk or clock, where it is a site's.
        at: where in the study, or None for a moment of the wall clock.
        share: the moment as a share of the undisturbed study's time, where `at` is None.
        hold_s: how long it lasts, where it lasts.
    """

    run: int
    card: Card
    site: str
    at: Reached | None
    share: float
    hold_s: float


CARDS = (
    *(Card(fault, victim) for fault in (Fault.KILL, Fault.STOP, Fault.RESTART) for victim in Victim),
    *(Card(fault, Place.LINE) for fault in (Fault.CUT, Fault.SILENT, Fault.SLOW, Fault.NARROW)),
    Card(Fault.DISK, Place.SITE_DISK),
    Card(Fault.DISK, Place.SERVER_DISK),
    Card(Fault.MEMORY, Victim.WORKER),
    Card(Fault.CLOCK, Place.CLOCK),
)


def draw_plan(runs: int, *, seed: int, sites: Sequence[str], rounds: int) -> list[Strike]:
    """The strikes of so many runs; the same arguments draw the same plan everywhere.

    Args:
        runs: how many.
        seed: what the plan depends on.
        sites: the federation's sites.
        rounds: of each study.
    """
    random = np.random.default_rng(seed)
    cards, points = _dealt(CARDS, random), _dealt(ORDER, random)
    return [_strike(run, next(cards), points, random, sites=sites, rounds=rounds) for run in range(1, runs + 1)]


def _strike(
    run: int, card: Card, points: Iterator[Point], random: np.random.Generator, *, sites: Sequence[str], rounds: int
) -> Strike:
    at = None if run % _WALL_EVERY == 0 else _place(next(points), int(random.integers(1, rounds + 1)), rounds)
    return Strike(
        run=run,
        card=card,
        site=sites[int(random.integers(len(sites)))],
        at=at,
        share=round(float(random.random()), 4),
        hold_s=round(float(random.uniform(*HOLD_S)), 2),
    )


def _place(point: Point, number: int, rounds: int) -> Reached:
    if point in ONCE:
        number = 0 if point is Point.OPEN else rounds
    elif point is Point.COMMITTED:
        number = min(number, rounds - 1)  # the last round is followed by `evaluate`
    return Reached(number, point)


def _dealt(cards: Sequence[T], random: np.random.Generator) -> Iterator[T]:
    while True:
        yield from (cards[index] for index in random.permutation(len(cards)))
