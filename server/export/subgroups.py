"""How good a model is on subgroups of the test patients, over all sites and at each, with the small cells hidden.

As for all patients (`server/pooling.py`): where every site that tells a subgroup releases statistics these add, and the
AUROC is of the added histogram with DeLong's interval, and Dice the mean over the patients; else it is the mean of the
sites' own. What a site withholds, or does not tell by its policy, is in neither, and neither is a site whose patients
the card hides.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from server.export.counts import SiteCounts
from server.report.scores import NO_MEANS, NOT_MEASURED, ONE_CLASS, Scores
from shared import metrics
from shared.metrics import BINS, Merit, Score
from shared.model_card import Figure, SubgroupAtSite, SubgroupPerformance
from shared.segmentation import Segmentation
from shared.study import Study, TaskSpec
from shared.subgroups import COUNTING, TRAITS, VALUES, Subgroup, Trait, counts_in, covered
from shared.tasks import task_for

UNASKED = "The study does not ask for them (task.subgroups)."
UNTOLD = "The study asks for them, and no site tells them (policy.subgroup_scores)."
WITHHELD = "withheld: few patients, or few of a class, or few in whom a structure was measured"
UNDEFINED: dict[Merit, str] = {"auroc": ONE_CLASS, "dice": NOT_MEASURED}
BySite = dict[str, Subgroup]


def subgroups_of(task: TaskSpec, test: Scores, counts: SiteCounts, *, smallest: int) -> tuple[SubgroupPerformance, ...]:
    """Every subgroup that a site told of, by trait.

    Args:
        task: of the study.
        test: scores of the final model on test patients, by site.
        counts: the sites' patients, as far as they are told.
        smallest: the least count of patients that is told.
    """
    row = next((rule.row or 1 for rule in task_for(task).rules() if rule.name in COUNTING), 1)
    at = {
        site: _told_at(score, row=row, hidden=counts.hides(site, "test"), smallest=smallest)
        for site, score in test.items()
    }
    return tuple(
        _performance(task, trait, value, told)
        for trait in TRAITS
        for value in VALUES[trait]
        if (
            told := {
                site: one for site, group in at.items() for one in group if (one.trait, one.value) == (trait, value)
            }
        )
    )


def none_because(study: Study) -> str:
    """Why a card has no subgroups."""
    return UNTOLD if study.task.subgroups else UNASKED


def _told_at(score: Score, *, row: int, hidden: bool, smallest: int) -> tuple[Subgroup, ...]:
    if hidden:
        return tuple(one.withheld for one in score.subgroups)
    whole = counts_in(score.statistics)
    return covered(score.subgroups, patients=score.patients, counting=whole, row=row, smallest=smallest)


def _performance(task: TaskSpec, trait: Trait, value: str, told: BySite) -> SubgroupPerformance:
    merit: Merit = task_for(task).merit
    known = [one for one in told.values() if one.patients is not None]
    pooled = all(one.statistics for one in known)
    figure = Figure(why=WITHHELD)
    if known and pooled:
        figure = _agreement(task, known) if merit == "dice" else _ranking(task, known)
    elif known:
        figure = _mean(merit, known)
    return SubgroupPerformance(
        trait=trait,
        value=value,
        patients=sum(one.patients or 0 for one in known) if known else None,
        how="pooled" if pooled else "mean",
        by_site=tuple(
            SubgroupAtSite(site=site, patients=one.patients, **{merit: _own(merit, one)}) for site, one in told.items()
        ),
        **{merit: figure},
    )


def _agreement(task: TaskSpec, known: Sequence[Subgroup]) -> Figure:
    found = Segmentation(task).agreement(metrics.add(one.sums for one in known))
    return _figure("dice", found)


def _ranking(task: TaskSpec, known: Sequence[Subgroup]) -> Figure:
    counts = np.sum([one.histogram for one in known], axis=0).reshape(task.outputs, 2, BINS)
    found = [metrics.auroc_interval(one) for one in counts]
    areas = [metrics.auroc(one) for one in counts]
    if None in areas or None in found:
        return Figure(why=ONE_CLASS)
    error = fmean(metrics.auroc_error(one) or 0.0 for one in counts)
    area, low, high = metrics.interval(fmean(area for area in areas if area is not None), error)
    return Figure(value=area, low=low, high=high)


def _mean(merit: Merit, known: Sequence[Subgroup]) -> Figure:
    own = [one.figures[merit] for one in known if merit in one.figures]
    return Figure(value=fmean(own), why=NO_MEANS) if own else Figure(why=UNDEFINED[merit])


def _own(merit: Merit, one: Subgroup) -> Figure:
    return Figure(why=WITHHELD) if one.patients is None else _figure(merit, one.figures)


def _figure(merit: Merit, said: Mapping[str, float]) -> Figure:
    if merit not in said:
        return Figure(why=UNDEFINED[merit])
    return Figure(value=said[merit], low=said.get(f"{merit}_low"), high=said.get(f"{merit}_high"))
