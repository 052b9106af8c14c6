"""How well the models did, each score told at the model it belongs to.

The scores that arrive with the updates of round r are of the model that entered it, the model after
round r - 1; those of the validation trip are of the last model, those of the closing trip of the final
one. Figures of several sites come from their added statistics; a site's own AUROC is the figure it released.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from server.history import StudyHistory
from server.records import Split
from server.report.words import sites_in_order
from shared import metrics
from shared.metrics import Score
from shared.tasks import Task, Thresholds

Scores = dict[str, Score]  # by site

NOBODY = "no site scored it"
NOT_HERE = "the site did not score it"
ONE_CLASS = "not every class is present among its patients"
NO_SPREAD = "no interval: every patient is ranked right, and the method then has no spread to go by"
TOO_FEW_BINS = "no interval: the scores fall into too few bins"
TOO_FEW = "no interval: too few patients of a class"
NO_THRESHOLD = "no threshold: not every class is present among the validation patients"
LIKELIEST = "the likeliest class is called, so there is no threshold, and no sensitivity and specificity of it"


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95 % interval; `why` says what is missing of them, and why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Point:
    """The model after `model` rounds, on validation patients; `by_site` are the AUROCs released."""

    model: int
    auroc: Estimate
    loss: float | None
    sites: int
    patients: int
    by_site: dict[str, float]


@dataclass(frozen=True)
class Pooled:
    """One model on one split of several sites, from their added statistics.

    `classes` is the AUROC of each class; None stands where one is not defined.
    """

    auroc: Estimate
    sites: tuple[str, ...] = ()
    patients: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class AtThreshold:
    """Figures on test patients at cuts chosen on validation patients.

    `probabilities` are the cuts, one per class; empty where there is none, and `why` says why.
    """

    probabilities: tuple[float, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True)
class SiteScore:
    """A site's own AUROC of the final model on one split, as released; the interval from its statistics."""

    patients: int
    auroc: Estimate


def validation_curve(task: Task, history: StudyHistory) -> tuple[Point, ...]:
    """Validation figures of each model that was scored, the start model (0) first."""
    final, by_model = history.final_round, validation_scores(history)
    by_model[final] = by_model.get(final, {}) | _of_closing_trip(history, "validation")
    return tuple(_point(task, number, scores) for number, scores in sorted(by_model.items()) if scores)


def final_scores(history: StudyHistory, split: Split) -> Scores:
    """By site, what is known of the final model on a split; as long as none is chosen, of the last one."""
    closing = _of_closing_trip(history, split)
    return validation_scores(history).get(history.final_round, {}) | closing if split == "validation" else closing


def pooled(task: Task, classes: tuple[str, ...], scores: Scores) -> Pooled:
    """The figures of several sites' added statistics."""
    if not scores:
        return Pooled(Estimate(why=NOBODY))
    figures = task.figures(metrics.add(score.statistics for score in scores.values()))
    return Pooled(
        auroc=_estimate(figures),
        sites=tuple(sites_in_order(scores)),
        patients=sum(score.patients for score in scores.values()),
        figures={name: value for name, value in figures.items() if not name.startswith("auroc")},
        classes={name: figures.get(f"auroc.{name}") for name in classes} if len(classes) > 1 else {},
    )


def at_threshold(task: Task, validation: Scores, test: Scores, *, multiclass: bool) -> AtThreshold:
    """Test figures at the threshold that the validation patients of all sites choose."""
    if not validation or not test:
        return AtThreshold(why=NOBODY)
    if multiclass:
        return AtThreshold(why=LIKELIEST)
    cuts = cuts_of(task, validation)
    if cuts is None:
        return AtThreshold(why=NO_THRESHOLD)
    figures = task.figures_at(metrics.add(score.statistics for score in test.values()), cuts)
    return AtThreshold(tuple(1 / (1 + math.exp(-cut)) for cut in cuts), figures)


def cuts_of(task: Task, validation: Scores) -> Thresholds | None:
    """The thresholds that the validation patients of all sites choose; None if that is not defined."""
    return task.thresholds(metrics.add(score.statistics for score in validation.values())) if validation else None


def site_score(task: Task, score: Score | None) -> SiteScore:
    """One site's own figure."""
    if score is None:
        return SiteScore(0, Estimate(why=NOT_HERE))
    found, released = _estimate(task.figures(score.statistics)), score.figures.get("auroc")
    why = found.why if released is not None else found.why or "the site did not release it"
    return SiteScore(score.patients, Estimate(released, found.low, found.high, why))


def validation_scores(history: StudyHistory) -> dict[int, Scores]:
    """By number of the model: the scores that came with updates of the round it entered, or in the validation trip."""
    found: dict[int, Scores] = {}
    for report in history.readies:
        number = report.round - 1
        for score in _matching(report.scores, history.digest_after(number), "validation"):
            found.setdefault(number, {})[report.site] = score
    for site, said in history.validated.items():
        for score in _matching(said.scores, history.digest_after(said.model), "validation"):
            found.setdefault(said.model, {})[site] = score
    return found


def _of_closing_trip(history: StudyHistory, split: Split) -> Scores:
    digest = history.final_digest
    return {site: score for site, said in history.scored.items() for score in _matching(said.scores, digest, split)}


def _matching(scores: Iterable[Score], digest: str | None, split: Split) -> Iterable[Score]:
    return (score for score in scores if (score.model_digest, score.split) == (digest, split))


def _point(task: Task, number: int, scores: Scores) -> Point:
    figures = task.figures(metrics.add(score.statistics for score in scores.values()))
    ordered = ((site, scores[site].figures) for site in sites_in_order(scores))
    released = {site: figures["auroc"] for site, figures in ordered if "auroc" in figures}
    patients = sum(score.patients for score in scores.values())
    return Point(number, _estimate(figures), figures.get("loss"), len(scores), patients, released)


def _estimate(figures: dict[str, float]) -> Estimate:
    value, low, high = (figures.get(name) for name in ("auroc", "auroc_low", "auroc_high"))
    if value is None:
        return Estimate(why=ONE_CLASS)
    if low is None or high is None:
        return Estimate(value, why=TOO_FEW)
    if low == high:
        return Estimate(value, why=NO_SPREAD if value == 1.0 else TOO_FEW_BINS)
    return Estimate(value, low, high)
