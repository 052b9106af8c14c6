"""Which model is the final one, and when no further round is worth running.

Pure. Models are compared by one figure on validation patients (`server/pooling.py`), all of them on the same patients:

1. the cohort is fixed: the sites that scored the newest model (of those that anybody scored), but for those that
   scored fewer than half of the models, which would otherwise leave next to none to choose from;
2. candidates are the models that every site of the cohort scored, so that a site that died, or that
   missed a round, never makes two models incomparable;
3. the best figure wins; of equal ones the earlier model's;
4. where nobody scored any model, or the figure is defined for none, the last model is taken;
5. training ends when `patience_rounds` candidates whose figure is defined came after the last one that was better
   by more than `min_gain` than the best before it; a model that is no candidate was not judged, and does not count.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from server.pooling import How
from shared.selection import Metric, SelectionSpec

Cause = Literal["best", "unscored", "undefined"]


@dataclass(frozen=True)
class Standing:
    """The candidates' figures over one cohort, by the rounds behind the model, in order; None: undefined.

    `how` is the same for all: figures that were made in two ways would not compare.
    """

    cohort: tuple[str, ...] = ()
    figures: Mapping[int, float | None] = field(default_factory=dict)
    how: How = "pooled"


def candidates_of(scorers: Mapping[int, Set[str]]) -> tuple[frozenset[str], tuple[int, ...]]:
    """Rules 1 and 2.

    Args:
        scorers: by model, who scored it; a model that nobody scored may be left out.

    Returns:
        The cohort and the candidates, the earlier first; both empty if there are none.
    """
    newest = max((model for model, sites in scorers.items() if sites), default=None)
    if newest is None:
        return frozenset(), ()
    scored = Counter(chain.from_iterable(scorers.values()))
    steady = {site for site in scorers[newest] if 2 * scored[site] >= sum(bool(sites) for sites in scorers.values())}
    cohort = frozenset(steady or scorers[newest])
    return cohort, tuple(model for model, sites in sorted(scorers.items()) if cohort <= sites)


def choose(standing: Standing, metric: Metric) -> tuple[int | None, Cause]:
    """Rules 3 and 4: the candidate to take; None for the last model, and why."""
    if not standing.cohort:
        return None, "unscored"
    best: tuple[int, float] | None = None
    for model, figure in standing.figures.items():
        if figure is not None and (best is None or _gain(figure, best[1], metric) > 0):
            best = model, figure
    return (best[0], "best") if best else (None, "undefined")


def stalled_since(standing: Standing, spec: SelectionSpec) -> int | None:
    """Rule 5: the model since which none was better, if training ends for that; None if it goes on."""
    defined = [(model, figure) for model, figure in standing.figures.items() if figure is not None]
    if spec.patience_rounds is None or not defined:
        return None
    best = 0
    for place, (_, figure) in enumerate(defined):
        if _gain(figure, defined[best][1], spec.metric) > spec.min_gain:
            best = place
    return defined[best][0] if len(defined) - 1 - best >= spec.patience_rounds else None


def _gain(figure: float, before: float, metric: Metric) -> float:
    return before - figure if metric == "loss" else figure - before
