"""Intervals by drawing patients again: against DeLong, against resampling done by hand, and paired."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from shared import metrics
from shared.metrics import Interval
from shared.resampling import Figure, balanced_accuracy, bootstrap_interval, difference, macro_auroc, mean_share

Drawn = tuple[NDArray[Any], NDArray[Any]]


def drawn(n: int, *, seed: int = 0) -> Drawn:
    """Truths with prevalence 0.6 and logits that are 1 higher for the positive."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.6
    return rng.standard_normal(n) + truth, truth


def found(figure: Figure | None, sites: Any, *, seed: int = 0, draws: int = 2000) -> Interval:
    interval = bootstrap_interval(figure, sites, rng=np.random.default_rng(seed), draws=draws)
    assert interval is not None
    return interval


def test_the_bootstrap_agrees_with_delong() -> None:
    logits, truth = drawn(600)
    boot, curve = found(macro_auroc(logits, truth), np.arange(600) % 4), metrics.histogram(logits, truth)
    delong = metrics.auroc_interval(curve)
    assert delong is not None
    assert boot.value == pytest.approx(roc_auc_score(truth, logits))
    assert [boot.low, boot.high] == pytest.approx([delong.low, delong.high], abs=0.01)


def test_the_bootstrap_is_what_resampling_patients_gives() -> None:
    logits, truth = drawn(80)
    area = found(macro_auroc(logits, truth), ["a"] * 30 + ["b"] * 50, seed=1, draws=2000)
    share = found(balanced_accuracy(logits, truth), ["a"] * 30 + ["b"] * 50, seed=1, draws=2000)
    rng, areas, shares = np.random.default_rng(2), [], []
    for _ in range(500):
        again = np.concatenate([rng.integers(0, 30, 30), rng.integers(30, 80, 50)])
        areas.append(roc_auc_score(truth[again], logits[again]))
        shares.append(balanced_accuracy_score(truth[again], logits[again] >= 0))
    assert [area.low, area.high] == pytest.approx(np.percentile(areas, [2.5, 97.5]), abs=0.015)
    assert [share.low, share.high] == pytest.approx(np.percentile(shares, [2.5, 97.5]), abs=0.015)


def test_the_bootstrap_is_stratified_by_site() -> None:
    logits, truth = np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, True, False, True])
    boot = found(macro_auroc(logits, truth), [0, 1, 2, 3])
    assert boot == (0.75, 0.75, 0.75)  # a site of one patient always gives that patient


def test_the_bootstrap_follows_its_generator() -> None:
    figure, sites = macro_auroc(*drawn(100)), np.zeros(100, np.int64)
    first, again, other = (found(figure, sites, seed=seed, draws=250) for seed in (1, 1, 2))
    assert first == again != other


def test_the_paired_interval_is_narrower_than_two_apart() -> None:
    logits, truth = drawn(600)
    worse = logits + 0.3 * np.random.default_rng(9).standard_normal(600)
    sites, figure = np.arange(600) % 3, macro_auroc(logits, truth)
    paired, alone = found(difference(figure, macro_auroc(worse, truth)), sites), found(figure, sites)
    assert paired.value == pytest.approx(roc_auc_score(truth, logits) - roc_auc_score(truth, worse))
    assert paired.low < paired.value < paired.high
    assert paired.high - paired.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize("kind", [macro_auroc, balanced_accuracy])
def test_a_model_against_itself_differs_by_nothing(kind: Any) -> None:
    logits, truth = drawn(100)
    assert found(difference(kind(logits, truth), kind(logits, truth)), [0] * 100, draws=50) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", [macro_auroc, balanced_accuracy])
def test_without_both_classes_there_is_no_figure_and_no_interval(kind: Any) -> None:
    logits, truth = drawn(100)
    nothing = kind(logits, truth & False)
    assert nothing is None
    assert difference(nothing, kind(logits, truth)) is None
    assert bootstrap_interval(nothing, [0] * 100, rng=np.random.default_rng(0)) is None


def test_of_several_classes_the_mean_is_taken_over_the_same_resamples() -> None:
    logits, truth = drawn(200)
    both, kinds = np.stack([logits, -logits], axis=1), np.stack([truth, ~truth], axis=1)
    one, two = (found(macro_auroc(*pair), [0] * 200, seed=3, draws=200) for pair in ((logits, truth), (both, kinds)))
    assert two == pytest.approx(one)  # the second class mirrors the first, patient for patient
    gap = found(difference(macro_auroc(both, kinds), macro_auroc(both[:, ::-1], kinds)), [0] * 200, draws=200)
    assert gap.value == pytest.approx(2 * one.value - 1)


def test_a_class_without_both_kinds_is_left_out_of_the_area() -> None:
    logits, truth = drawn(100)
    scores, kinds = np.stack([logits, logits], axis=1), np.stack([truth, truth & False], axis=1)
    assert found(macro_auroc(scores, kinds), [0] * 100, draws=50).value == pytest.approx(roc_auc_score(truth, logits))


def test_of_several_classes_the_largest_margin_is_called() -> None:
    rng = np.random.default_rng(4)
    margins, labels = rng.standard_normal((300, 4)), rng.integers(0, 4, 300)
    margins[np.arange(300), labels] += 1
    share = found(balanced_accuracy(margins, labels[:, None] == np.arange(4)), [0] * 300, draws=200)
    assert share.value == pytest.approx(balanced_accuracy_score(labels, margins.argmax(axis=1)))
    assert share.low < share.value < share.high


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_of_no_patients_nothing_is_defined(shape: tuple[int, ...]) -> None:
    scores, truth = np.zeros(shape), np.zeros(shape, dtype=bool)
    assert macro_auroc(scores, truth) is None
    assert balanced_accuracy(scores, truth) is None
    assert mean_share(scores) is None
