"""Models compare over one cohort alone, the best is taken once, and patience ends the training."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.selection import Standing, candidates_of, choose, stalled_since
from shared.selection import Metric, SelectionSpec

SITES = st.frozensets(st.sampled_from(("east", "north", "south", "west")))
FIGURES = st.dictionaries(st.integers(0, 20), st.one_of(st.none(), st.integers(0, 4).map(lambda n: n / 4)))


def standing(figures: Mapping[int, float | None]) -> Standing:
    return Standing(("north",), dict(sorted(figures.items())))


def patience(rounds: int, *, gain: float = 0.0, metric: Metric = "auroc") -> SelectionSpec:
    return SelectionSpec(patience_rounds=rounds, min_gain=gain, metric=metric)


def test_the_cohort_is_who_scored_the_newest_model() -> None:
    scorers = {0: {"north", "south", "west"}, 1: {"north", "west"}, 2: {"north", "south"}}
    assert candidates_of(scorers) == ({"north", "south"}, (0, 2))


def test_a_site_that_died_costs_no_candidate() -> None:
    scorers = {0: {"north", "south"}, 1: {"north", "south"}, 2: {"north"}}
    assert candidates_of(scorers) == ({"north"}, (0, 1, 2))


def test_a_site_that_scored_hardly_any_model_takes_none_out_of_the_choice() -> None:
    scorers = {0: {"north", "south"}, 1: {"north", "south"}, 2: {"north", "south", "west"}}
    assert candidates_of(scorers) == ({"north", "south"}, (0, 1, 2))
    assert candidates_of({0: {"north"}, 1: {"west"}}) == ({"west"}, (1,))  # half of two


def test_where_nobody_scored_a_model_there_is_no_candidate() -> None:
    assert candidates_of({}) == candidates_of({0: set()}) == (frozenset(), ())


@given(st.dictionaries(st.integers(0, 20), SITES))
def test_every_candidate_was_scored_by_the_whole_cohort_and_no_other_was(
    scorers: dict[int, frozenset[str]],
) -> None:
    cohort, candidates = candidates_of(scorers)
    scored = [model for model in sorted(scorers) if scorers[model]]
    if scored:
        assert cohort <= scorers[scored[-1]]
        assert cohort
        assert candidates == tuple(model for model in scored if scorers[model] >= cohort)
        assert candidates[-1] == scored[-1]
    else:
        assert (cohort, candidates) == (frozenset(), ())


@pytest.mark.parametrize(("metric", "best"), [("auroc", 3), ("balanced_accuracy", 3), ("loss", 1)])
def test_the_best_is_taken_and_of_equal_ones_the_earlier(metric: Metric, best: int) -> None:
    assert choose(standing({0: 0.5, 1: 0.25, 2: 0.25, 3: 0.75, 4: 0.75}), metric) == (best, "best")


def test_without_figures_the_last_model_is_taken_and_the_cause_is_named() -> None:
    assert choose(Standing(), "auroc") == (None, "unscored")
    assert choose(standing({0: None, 1: None}), "auroc") == (None, "undefined")
    assert choose(standing({0: None, 1: 0.5}), "auroc") == (1, "best")


@given(FIGURES, st.sampled_from(("auroc", "loss")))
def test_no_candidate_beats_the_chosen_one(figures: dict[int, float | None], metric: Metric) -> None:
    chosen, cause = choose(standing(figures), metric)
    defined = {model: figure for model, figure in figures.items() if figure is not None}
    assert (cause == "best") == bool(defined)
    if chosen is not None:
        top = min(defined.values()) if metric == "loss" else max(defined.values())
        assert chosen == min(model for model, figure in defined.items() if figure == top)


@pytest.mark.parametrize(
    ("figures", "since"),
    [
        ({0: 0.5, 1: 0.6, 2: 0.6}, None),
        ({0: 0.5, 1: 0.6, 2: 0.6, 3: 0.55}, 1),
        ({0: 0.5, 1: 0.6, 2: 0.55, 3: 0.7}, None),
        ({1: 0.80, 3: 0.79}, None),  # what the cohort did not score was not judged
        ({1: 0.80, 2: None, 3: 0.79}, None),
        ({1: 0.80, 3: 0.79, 7: 0.79}, 1),
        ({0: None, 1: None, 2: None}, None),
        ({}, None),
    ],
)
def test_patience_ends_the_training(figures: dict[int, float | None], since: int | None) -> None:
    assert stalled_since(standing(figures), patience(2)) == since


def test_small_gains_do_not_hold_up_the_end_and_add_up() -> None:
    creeping = standing({0: 0.50, 1: 0.504, 2: 0.508, 3: 0.512})
    assert stalled_since(creeping, patience(3)) is None
    assert stalled_since(creeping, patience(3, gain=0.02)) == 0
    assert stalled_since(creeping, patience(3, gain=0.01)) is None  # model 3 is better than model 0 by enough


def test_of_loss_less_is_better() -> None:
    falling = standing({0: 3.0, 1: 2.0, 2: 1.0})
    assert stalled_since(falling, patience(2, metric="loss")) is None
    assert stalled_since(falling, patience(2)) == 0


@given(FIGURES, st.integers(1, 5), st.sampled_from((0.0, 0.25, 0.5)))
def test_training_goes_on_for_at_least_the_patience_after_the_best_model(
    figures: dict[int, float | None], rounds: int, gain: float
) -> None:
    since = stalled_since(standing(figures), patience(rounds, gain=gain))
    if since is not None:
        reached = figures[since]
        assert reached is not None
        later = [f for model, f in figures.items() if f is not None and model > since]
        assert len(later) >= rounds
        assert all(figure <= reached + gain for figure in later)


def test_without_patience_nothing_ends_early() -> None:
    assert stalled_since(standing(dict.fromkeys(range(100), 0.5)), SelectionSpec(model="best")) is None
