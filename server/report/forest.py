"""The forest plot of the sites: where each difference to all other sites stands, in the units of an SVG view box."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.report.charts import Scale, Tick
from server.report.fairness import SiteFairness

ROW, HEAD, FOOT, TEXT = 26.0, 6.0, 42.0, 176.0  # pixels: of a row, above and below all rows, right of the plot
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Row:
    """One site; `mark` is None if it was not compared, `side` the side of its square.

    `apart` says on which side of the others it stands by more than chance.
    """

    y: float
    site: str
    mark: float | None
    low: float
    high: float
    side: float
    apart: Literal["lower", "higher", ""]
    words: str


@dataclass(frozen=True)
class Forest:
    """The plot; `zero` is where a site would stand that is like the others."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    zero: float
    ticks: tuple[Tick, ...]
    rows: tuple[Row, ...]


def forest_of(sites: Sequence[SiteFairness], *, level: float, width: float = 720) -> Forest | None:
    """The forest of those sites that were scored; None if none could be compared.

    Args:
        sites: in the order of the rows.
        level: an adjusted p below this sets a site apart.
        width: of the view box.
    """
    differences = [site.versus for site in sites if site.versus]
    if not differences:
        return None
    left, right = min(200.0, 24 + 7.2 * max(len(site.site) for site in sites)), width - TEXT
    ends = [0.0, *(end for found in differences for end in (found.low, found.high))]
    step = next((s for s in _STEPS if (max(ends) - min(ends)) / s <= 7), _STEPS[-1])
    low, high = math.floor(min(ends) / step), math.ceil(max(ends) / step)
    x = Scale(low * step, max(high, low + 1) * step, left, right)
    most = max(site.patients for site in sites)
    return Forest(
        width=width,
        height=HEAD + ROW * len(sites) + FOOT,
        left=left,
        right=right,
        bottom=HEAD + ROW * len(sites),
        zero=x(0.0),
        ticks=tuple(Tick(x(n * step), _signed(n * step, 2)) for n in range(low, max(high, low + 1) + 1)),
        rows=tuple(_row(site, HEAD + ROW * (i + 0.5), x, most, level) for i, site in enumerate(sites)),
    )


def _row(site: SiteFairness, y: float, x: Scale, most: int, level: float) -> Row:
    side = round(5 + 6 * math.sqrt(site.patients / max(most, 1)), 2)
    found = site.versus
    if found is None:
        return Row(y, site.site, None, 0.0, 0.0, side, apart="", words="not compared")
    words = f"{_signed(found.value, 3)} ({_signed(found.low, 3)} to {_signed(found.high, 3)})"
    far = site.p_holm is not None and site.p_holm < level
    apart: Literal["lower", "higher", ""] = "" if not far else "lower" if found.value < 0 else "higher"
    return Row(y, site.site, x(found.value), x(found.low), x(found.high), side, apart=apart, words=words)


def _signed(value: float, digits: int) -> str:
    """With its sign, a minus as printers set it; nothing is minus zero."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "\N{MINUS SIGN}") + text
