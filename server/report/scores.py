"""How well the models did, each score told at the model it belongs to.

The scores that arrive with the updates of round r are of the model that entered it, the model after
round r - 1; those of the validation trip are of the last model, those of the closing trip of the final
one. How figures of several sites are made, `server/pooling.py` decides; a site's own figure is the one that it
released. Which figure that is, the AUROC or another, the task says: it is called the merit here.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from server.history import StudyHistory
from server.pooling import How, Together, how_of, releasing, tells, together
from server.records import Split
from server.report.words import sites_in_order
from shared import metrics
from shared.metrics import Merit, Score, Thresholds
from shared.tasks import Task

Scores = dict[str, Score]  # by site

NOBODY = "no site scored it"
ALL_WITHHELD = "every site that scored it withholds its score"
ALL_PRIVATE = "the study trains privately, so that every site withholds its score"
PRIVATE = "the site withholds it: the study trains privately"
NOT_HERE = "the site did not score it"
UNRELEASED = "no site releases statistics to pool"
WITHHELD = "the site withholds it: fewer patients, in all or of a class or not of it, than its smallest cell"
KEPT = "the site releases no statistics to compare it by"
NO_MEANS = "no interval: it is a mean of the sites' own figures"
NO_OWN = "no site tells a figure of its own"
ONE_CLASS = "not every class is present among its patients"
NO_SPREAD = "no interval: every patient is ranked right, and the method then has no spread to go by"
TOO_FEW_BINS = "no interval: the scores fall into too few bins"
NOT_MEASURED = "in none of its patients there is anything to measure"
ALL_ALIKE = "no interval: all patients have the same Dice"
TOO_FEW = "no interval: too few patients of a class"
NO_THRESHOLD = "no threshold: not every class is present among the validation patients"
NO_CUT = "a mask is where a structure is likelier than not, so there is no threshold"
DRAWN = "images are drawn, and nothing is called, so there is no threshold"
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
    """The model after `model` rounds, on validation patients; `by_site` are the figures released."""

    model: int
    merit: Estimate
    loss: float | None
    sites: int
    patients: int
    by_site: dict[str, float]
    how: How = "pooled"


@dataclass(frozen=True)
class Pooled:
    """One model on one split at several sites.

    Attributes:
        merit: made as `how` says, over `sites`, of `patients`.
        releasing: the sites that released statistics; `figures` and `classes` are of these, added.
        classes: the merit of each class; None stands where one is not defined.
        withheld: the sites that scored it and withheld the score.
    """

    merit: Estimate
    how: How = "pooled"
    sites: tuple[str, ...] = ()
    patients: int = 0
    releasing: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float | None] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()


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
    """A site's own figure of the final model on one split, as released; the interval from its statistics."""

    patients: int
    merit: Estimate


def validation_curve(task: Task, history: StudyHistory) -> tuple[Point, ...]:
    """Validation figures of each model that was scored, the start model (0) first; all are made in the same way."""
    final, by_model = history.final_round, validation_scores(history)
    by_model[final] = by_model.get(final, {}) | _of_closing_trip(history, "validation")
    known = {number: scores for number, scores in sorted(by_model.items()) if any(map(tells, scores.values()))}
    how = how_of_all(known)
    return tuple(_point(task, number, scores, how) for number, scores in known.items())


def how_of_all(by_model: Mapping[int, Scores]) -> How:
    """In which way figures of several models are made, so that they compare."""
    return "pooled" if all(how_of(scores) == "pooled" for scores in by_model.values()) else "mean"


def final_scores(history: StudyHistory, split: Split) -> Scores:
    """By site, what is known of the final model on a split; as long as none is chosen, of the last one."""
    closing = _of_closing_trip(history, split)
    return validation_scores(history).get(history.final_round, {}) | closing if split == "validation" else closing


def pooled(
    task: Task, classes: tuple[str, ...], scores: Scores, *, withheld: Iterable[str] = (), private: bool = False
) -> Pooled:
    """The figures of several sites; `withheld` are sites that scored and do not tell, `private` if none may."""
    kept = tuple(sites_in_order(withheld))
    if not scores:
        return Pooled(Estimate(why=ALL_PRIVATE if private else ALL_WITHHELD if kept else NOBODY), withheld=kept)
    found, added = together(task, scores), together(task, releasing(scores))
    figures = added.figures
    return Pooled(
        merit=estimate_of(task, found),
        how=found.how,
        sites=tuple(sites_in_order(found.sites)),
        patients=found.patients,
        releasing=tuple(sites_in_order(added.sites)),
        figures={name: value for name, value in figures.items() if not name.startswith(task.merit)},
        classes={name: figures.get(f"{task.merit}.{name}") for name in classes} if len(classes) > 1 and figures else {},
        withheld=kept,
    )


def at_threshold(task: Task, validation: Scores, test: Scores, *, uncut: str | None) -> AtThreshold:
    """Test figures at the threshold that validation patients choose, both of the sites that release statistics.

    `uncut` is why models of such a task have no threshold, if they have none.
    """
    if not validation or not test:
        return AtThreshold(why=NOBODY)
    if not releasing(validation) or not releasing(test):
        return AtThreshold(why=UNRELEASED)
    if uncut:
        return AtThreshold(why=uncut)
    cuts = cuts_of(task, validation)
    if cuts is None:
        return AtThreshold(why=NO_THRESHOLD)
    figures = task.figures_at(metrics.add(score.statistics for score in test.values()), cuts)
    return AtThreshold(tuple(1 / (1 + math.exp(-cut)) for cut in cuts), figures)


def cuts_of(task: Task, validation: Scores) -> Thresholds | None:
    """The thresholds that the validation patients of all releasing sites choose; None if that is not defined."""
    return task.thresholds(metrics.add(score.statistics for score in validation.values())) if validation else None


def site_score(task: Task, score: Score | None, *, withheld: bool = False, private: bool = False) -> SiteScore:
    """One site's own figure; `withheld` if the site has said that it keeps it, `private` if the study has it kept."""
    if score is None:
        return SiteScore(0, Estimate(why=PRIVATE if private else WITHHELD if withheld else NOT_HERE))
    if not score.statistics:
        return SiteScore(score.patients, _estimate(score.figures, task.merit))
    found, released = _estimate(task.figures(score.statistics), task.merit), score.figures.get(task.merit)
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


def withheld_by(history: StudyHistory, split: Split) -> frozenset[str]:
    """The sites that withhold their score of the final model on a split; as long as none is chosen, of the last one."""
    number = history.final_round
    said = [(ready.site, ready.withheld) for ready in history.readies if ready.round - 1 == number]
    said += [(site, trip.withheld) for site, trip in history.validated.items() if trip.model == number]
    said += [(site, trip.withheld) for site, trip in history.scored.items()]
    return frozenset(site for site, splits in said if split in splits)


def _of_closing_trip(history: StudyHistory, split: Split) -> Scores:
    digest = history.final_digest
    return {site: score for site, said in history.scored.items() for score in _matching(said.scores, digest, split)}


def _matching(scores: Iterable[Score], digest: str | None, split: Split) -> Iterable[Score]:
    return (score for score in scores if (score.model_digest, score.split) == (digest, split))


def estimate_of(task: Task, found: Together) -> Estimate:
    """The figure of several sites; a mean has no interval."""
    if found.how == "pooled":
        return _estimate(found.figures, task.merit)
    return Estimate(found.figures[task.merit], why=NO_MEANS) if found.figures else Estimate(why=NO_OWN)


def _point(task: Task, number: int, scores: Scores, how: How) -> Point:
    found = together(task, scores, how=how)
    ordered = ((site, scores[site].figures) for site in sites_in_order(scores))
    released = {site: figures[task.merit] for site, figures in ordered if task.merit in figures}
    loss = found.figures.get("loss")
    return Point(number, estimate_of(task, found), loss, len(found.sites), found.patients, released, how)


def _estimate(figures: dict[str, float], merit: Merit) -> Estimate:
    value, low, high = (figures.get(name) for name in metrics.coarse_figures(merit))
    if value is None:
        return Estimate(why=ONE_CLASS if merit == "auroc" else NOT_MEASURED)
    if low is None or high is None:
        return Estimate(value, why=TOO_FEW)
    if low == high:
        alike = TOO_FEW_BINS if merit == "auroc" else ALL_ALIKE
        return Estimate(value, why=NO_SPREAD if (merit, value) == ("auroc", 1.0) else alike)
    return Estimate(value, low, high)
