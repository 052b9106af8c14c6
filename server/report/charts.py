"""Where the charts' marks stand: pure geometry in the units of an SVG view box, y downwards.

What a mark looks like is the style sheet's matter, how it is written the template's.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.report.participation import RoundFacts, Seat
from server.report.scores import Estimate, Point
from server.report.words import sites_in_order

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
MOST_ROUNDS = 240  # of the participation grid; earlier ones are in the table
MOST_DOTS = 40  # of a curve; beyond them the line alone is legible


@dataclass(frozen=True)
class Tick:
    """A line of the grid and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A model of the curve; `whole` if all the sites that ever scored one scored this one."""

    x: float
    y: float
    whole: bool
    title: str


@dataclass(frozen=True)
class Curve:
    """The validation curve: paths are SVG path data, `band` the 95 % interval of the pooled line.

    `chosen` is the final model, if it was chosen from them.
    """

    width: float
    height: float
    left: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    band: str
    line: str
    sites: tuple[str, ...]
    dots: tuple[Dot, ...]
    last: Dot
    last_label: str
    chosen: Dot | None


@dataclass(frozen=True)
class Scale:
    """A linear axis from data to the view box."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value stands."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)


@dataclass(frozen=True)
class Cell:
    """One site in one round."""

    x: float
    y: float
    seat: Seat
    round: int


@dataclass(frozen=True)
class Grid:
    """The participation grid: a row per site, a column per round; `size` is a cell's side."""

    width: float
    height: float
    size: float
    left: float
    sites: tuple[Tick, ...]
    rounds: tuple[Tick, ...]
    cells: tuple[Cell, ...]
    left_out: int


def curve_of(
    points: Sequence[Point], *, name: str = "AUROC", chosen: int | None = None, width: float = 720, height: float = 290
) -> Curve | None:
    """The curve of those models whose pooled figure, called `name`, is defined; None if there are none."""
    drawn = [point for point in points if point.merit.value is not None]
    if not drawn:
        return None
    left, right, top, bottom = 44.0, width - 64, 16.0, height - 40
    floor, step = _floor(_values(drawn))
    last = max(drawn[-1].model, 1)
    x, y = Scale(0, last, left + 10, right), Scale(floor, 1.0, bottom, top)
    most = max(point.sites for point in drawn)
    dots = tuple(_dot(point, x, y, most=most, name=name) for point in drawn)
    names = sites_in_order({site for point in drawn for site in point.by_site})
    return Curve(
        width=width,
        height=height,
        left=left,
        bottom=bottom,
        x_ticks=tuple(Tick(x(n), str(n)) for n in _whole_ticks(last)),
        y_ticks=tuple(Tick(y(v), f"{v:.2f}") for v in _share_ticks(floor, step)),
        band=_band(drawn, x, y),
        line=path((dot.x, dot.y) for dot in dots),
        sites=tuple(path((x(p.model), y(p.by_site[s])) for p in drawn if s in p.by_site) for s in names),
        dots=dots if len(dots) <= MOST_DOTS else (),
        last=dots[-1],
        last_label=f"{drawn[-1].merit.value:.3f}",
        chosen=next((dot for point, dot in zip(drawn, dots, strict=True) if point.model == chosen), None),
    )


def grid_of(rounds: Sequence[RoundFacts], sites: Sequence[str], *, width: float = 720) -> Grid:
    """The grid of the last rounds that fit."""
    shown = rounds[-MOST_ROUNDS:]
    left = min(200.0, 16 + 7.2 * max((len(site) for site in sites), default=0))
    pitch = min(26.0, max(2.2, (width - left) / max(1, len(shown))))
    row, size = 26.0, min(18.0, round(pitch * 0.82, 2))
    every = _tick_every(len(shown), room=max(1, int((width - left) / 34)))
    return Grid(
        width=width,
        height=len(sites) * row + 26,
        size=size,
        left=left,
        sites=tuple(Tick(i * row + 9, site) for i, site in enumerate(sites)),
        rounds=tuple(
            Tick(round(left + i * pitch + size / 2, 2), str(r.number))
            for i, r in enumerate(shown)
            if i == 0 or (r.number % every == 0 and i >= every // 2 + (every > 1))
        ),
        cells=tuple(
            Cell(round(left + i * pitch, 2), j * row, r.seats[site], r.number)
            for i, r in enumerate(shown)
            for j, site in enumerate(sites)
            if site in r.seats
        ),
        left_out=len(rounds) - len(shown),
    )


def interval_scale(estimates: Iterable[Estimate], *, width: float) -> Scale:
    """One axis for intervals drawn in the rows of a table."""
    found = [v for e in estimates for v in (e.value, e.low) if v is not None]
    return Scale(_floor(found)[0], 1.0, 6, width - 6)


def path(points: Iterable[tuple[float, float]]) -> str:
    """SVG path data of a line through points."""
    return "".join(f"{'L' if i else 'M'}{x:g} {y:g}" for i, (x, y) in enumerate(points))


def _values(points: Iterable[Point]) -> list[float]:
    found = [v for point in points for v in (point.merit.value, point.merit.low, *point.by_site.values())]
    return [value for value in found if value is not None]


def _floor(values: Sequence[float]) -> tuple[float, float]:
    """Where an axis that ends at 1 begins, and its step: about five ticks, all round numbers."""
    lowest = max(0.0, min(values, default=0.5))
    step = next((s for s in _STEPS if (1 - lowest) / s <= 5), _STEPS[-1])
    return min(round(math.floor(lowest / step) * step, 2), 1 - 2 * step), step


def _share_ticks(floor: float, step: float) -> list[float]:
    return [round(1 - i * step, 4) for i in range(round((1 - floor) / step) + 1)]


def _tick_every(number: int, *, room: int = 12) -> int:
    step, factors = 1, itertools.cycle((2, 2.5, 2))  # 1, 2, 5, 10, 20 ...
    while number / step > room:
        step = round(step * next(factors))
    return step


def _whole_ticks(last: int) -> list[int]:
    return list(range(0, last + 1, _tick_every(last)))


def _dot(point: Point, x: Scale, y: Scale, *, most: int, name: str) -> Dot:
    value = point.merit.value
    assert value is not None
    model = "start model" if point.model == 0 else f"model after round {point.model}"
    area = name if point.how == "pooled" else f"mean of the sites' own {name}"
    title = f"{model}: {area} {value:.3f}, {point.patients} patients of {point.sites} sites"
    return Dot(x(point.model), y(value), point.sites == most, title)


def _band(points: Sequence[Point], x: Scale, y: Scale) -> str:
    """One area per run of models that have an interval."""
    ends = [(x(p.model), p.merit.low, p.merit.high) for p in points]
    areas = []
    for known, run in itertools.groupby(ends, key=lambda end: end[1] is not None and end[2] is not None):
        whole = [(at, y(low), y(high)) for at, low, high in run if low is not None and high is not None]
        edge = [*((at, high) for at, _, high in whole), *((at, low) for at, low, _ in reversed(whole))]
        areas += [f"{path(edge)}Z"] if known else []
    return "".join(areas)
