"""How several sites' scores of one model become one figure, and which sites are not in it.

Pure. Where all sites that told a figure released statistics, these add, and the figure is exact of all their
patients (`pooled`). Where one did not, because its policy keeps them, nothing adds: then the figure is the plain
mean of the sites' own AUROCs, or of what else the task is known by (`mean`), each site as much as another however
many patients it has, and no other figure is known. A site that withheld its score, or has no such figure of its own,
is in no mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from shared import metrics
from shared.metrics import Score
from shared.tasks import Task

How = Literal["pooled", "mean"]


@dataclass(frozen=True)
class Together:
    """One model on one split at several sites.

    Attributes:
        how: what the figures are.
        figures: the task's of added statistics, or the one of merit alone, the mean; empty if there is none.
        sites: those in the figures, in the order in which they were given.
        patients: of these.
    """

    how: How = "pooled"
    figures: dict[str, float] = field(default_factory=dict)
    sites: tuple[str, ...] = ()
    patients: int = 0


def together(task: Task, scores: Mapping[str, Score], *, how: How | None = None) -> Together:
    """The sites' scores as one; `how` is what they allow unless it is said.

    Raises:
        ValueError: they are to be pooled, and do not add.
    """
    how = how or how_of(scores)
    taken = {site: score for site, score in scores.items() if how == "pooled" or task.merit in score.figures}
    patients = sum(score.patients for score in taken.values())
    if how == "pooled":
        figures = task.figures(metrics.add(score.statistics for score in taken.values()))
    else:
        figures = {task.merit: fmean(score.figures[task.merit] for score in taken.values())} if taken else {}
    return Together(how, figures, tuple(taken), patients)


def how_of(scores: Mapping[str, Score]) -> How:
    """Whether these add."""
    return "pooled" if all(score.statistics for score in scores.values()) else "mean"


def releasing(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Those whose statistics the site released, so that they add up with others."""
    return {site: score for site, score in scores.items() if score.statistics}


def tells(score: Score) -> bool:
    """Whether there is any figure in it."""
    return bool(score.statistics) or any(merit in score.figures for merit in metrics.MERITS)
