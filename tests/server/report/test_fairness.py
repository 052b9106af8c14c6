"""Each site beside all the others, from the journal's own scores."""

from typing import Any

import numpy as np
import pytest

from server.records import SiteScored
from server.report.chance import NO_SPREAD, TOO_FEW
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.fairness import LONELY, OTHERS, Fairness
from server.report.scores import ONE_CLASS
from shared.metrics import add
from shared.tasks import task_for


def fairness(ward: Any) -> Fairness:
    return facts_of(read_evidence(ward.folder)).fairness


def scored(ward: Any, site: str, logits: Any, truth: Any) -> None:
    """A site's closing trip with these test patients."""
    task, digest = task_for(ward.study.task), ward.score(1, site).model_digest
    test = task.score(np.asarray(logits)[:, None], np.asarray(truth), model_digest=digest, split="test")
    ward.say(SiteScored(site=site, model_digest=digest, scores=(ward.score(1, site), test)))


def drawn(ward: Any, site: str, *, patients: int, shift: float, seed: int, positives: int | None = None) -> None:
    rng = np.random.default_rng(seed)
    truth = np.arange(patients) < (patients // 2 if positives is None else positives)
    scored(ward, site, rng.normal(shift * truth), truth.astype(np.int64))


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
def test_a_site_stands_beside_all_other_sites_pooled(wards: Any, mode: str) -> None:
    ward = wards.finished(mode)
    task, found = task_for(ward.study.task), fairness(ward)
    assert (found.split, found.compared, [site.site for site in found.sites]) == ("test", 3, list(ward.sites))
    others = task.figures(add(ward.score(3, site, "test").statistics for site in ("south", "west")))
    north = found.sites[0]
    assert north.others == others["auroc"]
    assert north.versus is not None
    assert north.versus.value == pytest.approx(north.merit.value - others["auroc"], abs=0.002)
    assert north.versus.low < north.versus.value < north.versus.high
    assert north.p_holm is not None
    assert north.p_holm >= north.versus.p


def test_the_extremes_and_the_gap(wards: Any) -> None:
    found = fairness(wards.finished())
    values = {site.site: site.merit.value for site in found.sites}
    assert found.best == max(values, key=lambda site: values[site])
    assert (found.worst_merit, found.gap) == (min(values.values()), max(values.values()) - min(values.values()))
    assert found.heterogeneity is not None
    assert found.heterogeneity.df == 2


def test_a_site_that_is_served_worse_is_found(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    for seed, (site, shift) in enumerate({"north": 2.5, "south": 2.5, "west": 0.6}.items()):
        drawn(ward, site, patients=300, shift=shift, seed=seed)
    found = fairness(ward)
    assert found.worst == "west"
    assert found.heterogeneity is not None
    assert found.heterogeneity.p < 1e-6
    assert found.sites[2].p_holm < 1e-6
    assert found.sites[2].versus.high < 0
    assert found.gap > 3 * found.gap_by_chance


def test_no_site_is_the_best_where_all_have_the_same_figure(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    for site in ("north", "south"):
        drawn(ward, site, patients=8, shift=1.0, seed=1, positives=4)
    found = fairness(ward)
    assert (found.best, found.worst, found.gap) == (None, None, 0.0)


def test_where_nothing_can_be_compared_the_extremes_are_those_of_all(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    for seed, site in enumerate(("north", "south")):
        drawn(ward, site, patients=8, shift=1.0, seed=seed, positives=4)
    found = fairness(ward)
    assert (found.compared, found.why, found.gap_by_chance) == (0, LONELY, None)
    assert (found.gap is None, found.best is None) == (False, False)


def test_at_the_common_threshold(wards: Any) -> None:
    ward = wards.finished()
    task, north = task_for(ward.study.task), fairness(ward).sites[0]
    cuts = task.thresholds(add(ward.score(3, site).statistics for site in ward.sites))
    assert cuts is not None
    assert north.at_threshold == task.figures_at(ward.score(3, "north", "test").statistics, cuts)


def test_validation_stands_in_where_no_test_patient_was_scored(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1).whole_round(2)
    ward.say(ward.opening(3), *(ward.ready(3, site) for site in ward.sites))
    found = fairness(ward)
    assert (found.split, found.compared) == ("validation", 3)
    assert all(site.at_threshold == {} for site in found.sites)  # the threshold was chosen on these very patients


def test_sites_that_cannot_be_compared_say_why_and_count_among_the_others(wards: Any) -> None:
    ward = wards.new(sites=("one", "few", "perfect", "north", "south")).begin().whole_round(1)
    scored(ward, "one", np.linspace(-1, 1, 20), np.ones(20, np.int64))
    drawn(ward, "few", patients=40, shift=1.0, seed=1, positives=4)
    scored(ward, "perfect", np.linspace(-1, 1, 20), (np.arange(20) > 9).astype(np.int64))
    drawn(ward, "north", patients=100, shift=1.5, seed=2)
    drawn(ward, "south", patients=100, shift=1.5, seed=3)
    found = fairness(ward)
    why = {site.site: site.why for site in found.sites}
    assert why == {"few": TOO_FEW, "north": None, "one": ONE_CLASS, "perfect": NO_SPREAD, "south": None}
    assert (found.compared, {found.best, found.worst}) == (2, {"north", "south"})
    task = task_for(ward.study.task)
    history = read_evidence(ward.folder).history
    rest = add(said.scores[1].statistics for site, said in history.scored.items() if site != "north")
    assert next(s for s in found.sites if s.site == "north").others == task.figures(rest)["auroc"]


def test_one_site_alone_is_not_compared(wards: Any) -> None:
    ward = wards.new(sites=("north",)).begin().whole_round(1).closing_trip(1)
    found = fairness(ward)
    assert (found.why, found.heterogeneity, found.best, found.gap) == (LONELY, None, None, None)
    assert found.sites[0].why == OTHERS


def test_nothing_scored_is_nothing_compared(wards: Any) -> None:
    found = fairness(wards.new().begin())
    assert (found.sites, found.why) == ((), LONELY)
