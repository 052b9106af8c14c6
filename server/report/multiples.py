"""The small multiples: where each site's figures stand over the rounds, each in a box of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.drift import FIGURES, Finding
from server.report.charts import MOST_ROUNDS, Scale, path
from server.report.habits import Drift, Watched
from server.report.unusual import NAMES, figure_in_words, told

WIDTH, HEIGHT, EDGE = 96.0, 34.0, 5.0  # of a box, and what is left free in it, pixels
MOST_SITES = 40  # of which all are drawn; of more, only those with something unusual


@dataclass(frozen=True)
class Mark:
    """A round that lay outside of the usual; `alike` if all sites moved so."""

    x: float
    y: float
    alike: bool
    title: str


@dataclass(frozen=True)
class Box:
    """One figure of one site; `line` is SVG path data, `end` where the last value stands."""

    figure: str
    line: str
    end: tuple[float, float]
    last: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Multiples:
    """A row of boxes by site, in the order of `figures`; None where a site never gave the figure."""

    figures: tuple[str, ...]
    rows: dict[str, tuple[Box | None, ...]]
    left_out: int


def multiples_of(drift: Drift) -> Multiples:
    """The boxes of the last rounds that fit."""
    found = {(one.site, one.figure): one for one in drift.watched}
    sites = list(dict.fromkeys(one.site for one in drift.watched))
    odd = {finding.site for finding in drift.findings if not finding.alike}
    shown = sites if len(sites) <= MOST_SITES else [site for site in sites if site in odd][:MOST_SITES]
    figures = tuple(name for name in FIGURES if any(one.figure == name for one in drift.watched))
    rounds = sorted({number for one in drift.watched for number in one.values})[-MOST_ROUNDS:]
    rows = {site: tuple(_box(found.get((site, name)), drift.findings, rounds) for name in figures) for site in shown}
    return Multiples(tuple(NAMES[name] for name in figures), rows, len(sites) - len(shown))


def _box(watched: Watched | None, findings: Sequence[Finding], rounds: Sequence[int]) -> Box | None:
    values = {n: watched.values[n] for n in rounds if n in watched.values} if watched else {}
    if watched is None or not values:
        return None
    kind = FIGURES[watched.figure]
    at = {number: kind.on_scale(value) for number, value in values.items()}
    middle, reach = (max(at.values()) + min(at.values())) / 2, (max(at.values()) - min(at.values())) / 2
    reach = max(reach, kind.least_on_scale)  # a figure that hardly moves is drawn as one that hardly moves
    x = Scale(rounds[0], max(rounds[-1], rounds[0] + 1), EDGE, WIDTH - EDGE)
    y = Scale(middle - reach, middle + reach, HEIGHT - EDGE, EDGE)
    last = max(values)
    return Box(
        figure=watched.figure,
        line=path((x(number), y(value)) for number, value in at.items()),
        end=(x(last), y(at[last])),
        last=figure_in_words(watched.figure, values[last]),
        marks=tuple(
            Mark(x(f.round), y(at[f.round]), f.alike, told(f))
            for f in findings
            if (f.site, f.figure) == (watched.site, watched.figure) and f.round in at
        ),
    )
