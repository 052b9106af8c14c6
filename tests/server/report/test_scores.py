"""Each score stands at the model it is of, and pooled figures are those of the added statistics."""

from typing import Any

import pytest

from server.report.evidence import read_evidence
from server.report.facts import Facts, facts_of
from server.report.scores import LIKELIEST, NO_SPREAD, NO_THRESHOLD, NOT_HERE, ONE_CLASS, TOO_FEW_BINS
from shared.metrics import add
from shared.tasks import task_for


def facts(ward: Any) -> Facts:
    return facts_of(read_evidence(ward.folder))


def test_the_scores_of_a_round_are_drawn_at_the_model_that_entered_it(wards: Any) -> None:
    ward = wards.finished(rounds=3)
    found = facts(ward).curve
    assert [point.model for point in found] == [0, 1, 2, 3]
    for point in found:
        assert point.by_site == {s: ward.score(point.model, s).figures["auroc"] for s in ward.sites}
    assert found[0].merit.value < found[3].merit.value


def test_a_score_of_another_model_is_not_drawn(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(ward.ready(1, "north"))
    ward.say(ward.ready(1, "south", scores=(ward.score(2, "south"),)))
    (point,) = facts(ward).curve
    assert (point.model, point.sites, list(point.by_site)) == (0, 1, ["north"])


def test_an_answer_given_twice_counts_once(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(ward.ready(1, "north"), ward.ready(1, "north", replayed=True))
    assert facts(ward).curve[0].patients == 40


def test_before_the_closing_trip_the_last_model_is_known_by_the_next_rounds_scores(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    ward.say(ward.opening(2)).say(ward.ready(2, "north"))
    found = facts(ward)
    assert [(point.model, point.sites) for point in found.curve] == [(0, 3), (1, 1)]
    assert (found.validation.sites, found.test.sites) == (("north",), ())


def test_the_closing_trip_on_an_earlier_model_does_not_count(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1).closing_trip(1).whole_round(2)
    assert facts(ward).test.sites == ()


@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
def test_pooled_figures_are_those_of_the_added_statistics(wards: Any, mode: str) -> None:
    ward = wards.finished(mode)
    task, found = task_for(ward.study.task), facts(ward)
    expected = task.figures(add(ward.score(3, site, "test").statistics for site in ward.sites))
    assert found.test.merit.value == expected["auroc"]
    assert (found.test.merit.low, found.test.merit.high) == (expected["auroc_low"], expected["auroc_high"])
    assert found.test.figures["brier"] == expected["brier"]
    assert (found.test.patients, found.test.sites) == (180, ward.sites)
    names = ward.study.task.classes if mode != "binary" else ()
    assert found.test.classes == {name: expected[f"auroc.{name}"] for name in names}


@pytest.mark.parametrize(("mode", "cuts"), [("binary", 1), ("multilabel", 2)])
def test_the_threshold_is_chosen_on_validation_and_used_on_test(wards: Any, mode: str, cuts: int) -> None:
    ward = wards.finished(mode)
    task, found = task_for(ward.study.task), facts(ward).threshold
    chosen = task.thresholds(add(ward.score(3, site).statistics for site in ward.sites))
    assert chosen is not None
    assert found.figures == task.figures_at(add(ward.score(3, s, "test").statistics for s in ward.sites), chosen)
    assert len(found.probabilities) == cuts
    assert all(0 < cut < 1 for cut in found.probabilities)
    assert set(found.figures) >= {"balanced_accuracy", "sensitivity", "specificity"}


def test_multiclass_has_no_threshold_and_says_why(wards: Any) -> None:
    found = facts(wards.finished("multiclass")).threshold
    assert (found.probabilities, found.figures, found.why) == ((), {}, LIKELIEST)


def test_a_sites_own_figure_is_the_one_it_released(wards: Any) -> None:
    ward = wards.finished()
    north = facts(ward).sites[0]
    assert north.test.merit.value == ward.score(3, "north", "test").figures["auroc"]
    assert north.test.merit.low < north.test.merit.value < north.test.merit.high
    assert (north.validation.patients, north.test.patients) == (40, 60)


def test_what_is_not_known_says_why(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1).closing_trip(1, "north")
    north, south, _ = facts(ward).sites
    assert north.test.merit.value is not None
    assert (south.test.merit.value, south.test.merit.why) == (None, NOT_HERE)


def test_one_class_gives_neither_area_nor_threshold(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    task, digest = task_for(ward.study.task), ward.score(1, "north").model_digest
    logits, targets = [[-1.0], [2.0], [3.0]], [1, 1, 1]
    both = tuple(
        task.score(wards.array(logits), wards.array(targets), model_digest=digest, split=split)
        for split in ("validation", "test")
    )
    ward.say(wards.scored("north", digest, both))
    found = facts(ward)
    assert (found.test.merit.value, found.test.merit.why) == (None, ONE_CLASS)
    assert (found.threshold.probabilities, found.threshold.why) == ((), NO_THRESHOLD)
    assert "not defined" in found.headline.sentence


def test_a_perfect_ranking_is_not_given_an_interval_of_no_width(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    score = ward.score(1, "north", "test", skill=50.0)
    ward.say(wards.scored("north", score.model_digest, (score,)))
    area = facts(ward).test.merit
    assert (area.value, area.low, area.high, area.why) == (1.0, None, None, NO_SPREAD)


def test_scores_in_one_bin_are_not_called_a_perfect_ranking(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    task, digest = task_for(ward.study.task), ward.score(1, "north").model_digest
    logits, targets = wards.array([[0.5]] * 6), wards.array([0, 1] * 3)
    score = task.score(logits, targets, model_digest=digest, split="test")
    ward.say(wards.scored("north", digest, (score,)))
    area = facts(ward).test.merit
    assert (area.value, area.low, area.high, area.why) == (0.5, None, None, TOO_FEW_BINS)
