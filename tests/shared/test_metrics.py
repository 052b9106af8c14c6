from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from shared import metrics
from shared.metrics import BINS, EDGES, LOGIT_LIMIT

Drawn = tuple[NDArray[Any], NDArray[Any]]


def drawn(n: int, *, scale: float, shift: float = 1.0, offset: float = 0.0, seed: int = 0) -> Drawn:
    """Truths with prevalence 0.6 and logits scale * (normal + shift if positive) + offset."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.6
    return scale * (rng.standard_normal(n) + shift * truth) + offset, truth


def test_the_edges_are_exact_sorted_symmetric_and_hold_zero() -> None:
    assert np.all(np.diff(EDGES) > 0)
    assert np.array_equal(EDGES, -EDGES[::-1])
    assert 0.0 in EDGES
    assert EDGES[-1] == LOGIT_LIMIT
    assert np.array_equal(EDGES * 2**11, np.rint(EDGES * 2**11))
    assert BINS == 960


def test_no_bin_is_wider_than_a_thirtysecond_of_its_magnitude() -> None:
    widths, starts = np.diff(EDGES), np.minimum(np.abs(EDGES[:-1]), np.abs(EDGES[1:]))
    outside = starts >= 2.0**-6
    assert np.all(widths[outside] <= starts[outside] / 32)


def test_every_score_is_counted_once_however_extreme() -> None:
    logits = np.array([-np.inf, -1e9, -256.0, -1e-30, 0.0, 1e-30, 255.9, 256.0, 1e9, np.inf])
    truth = np.array([0, 1] * 5, bool)
    counts = metrics.histogram(logits, truth)
    assert counts.shape == (2, BINS)
    assert counts.dtype == np.int64
    assert counts.sum(axis=1).tolist() == [5, 5]
    assert counts[:, 0].sum() == 3
    assert counts[:, -1].sum() == 4


def test_zero_counts_as_called_positive() -> None:
    counts = metrics.histogram(np.array([0.0, -1e-12]), np.array([True, True]))
    assert metrics.confusion_at(counts, 0.0).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 10.0, 30.0])
@pytest.mark.parametrize("shift", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("n", [624, 5000])
def test_pooled_auroc_is_within_0_002_of_exact(scale: float, shift: float, n: int) -> None:
    for seed in range(5):
        logits, truth = drawn(n, scale=scale, shift=shift, seed=seed)
        area = metrics.auroc(metrics.histogram(logits, truth))
        assert area == pytest.approx(roc_auc_score(truth, logits), abs=0.002)


def test_pooled_auroc_holds_for_a_timid_model_that_leans_to_one_class() -> None:
    logits, truth = drawn(3000, scale=0.1, offset=1.0)
    assert metrics.auroc(metrics.histogram(logits, truth)) == pytest.approx(roc_auc_score(truth, logits), abs=0.002)


def test_histograms_of_sites_add_up_to_that_of_all() -> None:
    logits, truth = drawn(900, scale=3.0)
    sites = np.arange(900) % 4
    parts = [
        {"histogram": tuple(metrics.histogram(logits[sites == s], truth[sites == s]).ravel().tolist())}
        for s in range(4)
    ]
    assert metrics.add(parts)["histogram"] == tuple(metrics.histogram(logits, truth).ravel().tolist())
    assert metrics.add([]) == {}


def test_statistics_of_different_tasks_do_not_add() -> None:
    with pytest.raises(ValueError, match="different tasks"):
        metrics.add([{"a": (1,)}, {"a": (1, 2)}])
    with pytest.raises(ValueError, match="different tasks"):
        metrics.add([{"a": (1,)}, {"b": (1,)}])


def delong_by_definition(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Standard error by the double sum over pairs of DeLong 1988, equations 2 and 3."""
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
    by_positive, by_negative = wins.mean(axis=1), wins.mean(axis=0)
    return float(np.sqrt(by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)))


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_error_is_delongs(scale: float) -> None:
    logits, truth = drawn(700, scale=scale)
    counts = metrics.histogram(logits, truth)
    assert metrics.auroc_error(counts) == pytest.approx(delong_by_definition(logits, truth), rel=0.01)
    binned = np.repeat(np.tile(np.arange(BINS), 2), counts.ravel())
    sides = np.repeat([False, True], counts.sum(axis=1))
    assert metrics.auroc_error(counts) == pytest.approx(delong_by_definition(binned, sides), rel=1e-12)


def test_the_interval_covers_the_true_area_about_95_times_in_100() -> None:
    true_area, covered = norm.cdf(1.0 / np.sqrt(2)), 0
    for seed in range(400):
        logits, truth = drawn(200, scale=1.0, seed=seed)
        interval = metrics.auroc_interval(metrics.histogram(logits, truth))
        assert interval is not None
        covered += interval.low <= true_area <= interval.high
    assert 370 <= covered <= 392


def test_an_interval_stays_between_0_and_1() -> None:
    assert metrics.interval(0.99, 0.1) == (0.99, pytest.approx(0.794, abs=1e-3), 1.0)
    assert metrics.interval(0.01, 0.1).low == 0.0


def test_figures_are_undefined_without_both_classes() -> None:
    alone = metrics.histogram(np.array([0.1, 0.2]), np.array([True, True]))
    assert metrics.auroc(alone) is None
    assert metrics.auroc_error(alone) is None
    assert metrics.auroc_interval(alone) is None
    assert metrics.youden_threshold(alone) is None
    pair = metrics.histogram(np.array([0.1, 0.2]), np.array([False, True]))
    assert metrics.auroc(pair) == 1.0
    assert metrics.auroc_interval(pair) is None  # one patient has no variance
    assert metrics.auroc(np.zeros((2, BINS), np.int64)) is None


def test_the_threshold_maximises_youdens_j() -> None:
    logits, truth = drawn(2000, scale=2.0, offset=-3.0)
    counts = metrics.histogram(logits, truth)
    threshold = metrics.youden_threshold(counts)
    assert threshold is not None
    every = [metrics.balanced_accuracy(metrics.confusion_at(counts, float(edge))) for edge in EDGES]
    assert metrics.balanced_accuracy(metrics.confusion_at(counts, threshold)) == max(v for v in every if v is not None)
    assert threshold == pytest.approx(-2.0, abs=1.0)


def test_a_threshold_carries_over_to_another_histogram_exactly() -> None:
    threshold = metrics.youden_threshold(metrics.histogram(*drawn(500, scale=2.0, seed=1)))
    assert threshold is not None
    logits, truth = drawn(500, scale=2.0, seed=2)
    confusion = metrics.confusion_at(metrics.histogram(logits, truth), threshold)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(balanced_accuracy_score(truth, logits >= threshold))
    assert metrics.accuracy(confusion) == pytest.approx(np.mean(truth == (logits >= threshold)))


def test_of_equally_good_thresholds_the_one_nearest_to_even_odds_is_taken() -> None:
    assert metrics.youden_threshold(metrics.histogram(np.array([-5.0, 5.0]), np.array([False, True]))) == 0.0


def test_accuracies_of_empty_tables_are_undefined() -> None:
    assert metrics.accuracy(np.zeros((2, 2), np.int64)) is None
    assert metrics.balanced_accuracy(np.array([[3, 1], [0, 0]])) is None


@pytest.mark.parametrize("ties", [False, True])
def test_exact_auroc_is_sklearns(ties: bool) -> None:
    logits, truth = drawn(500, scale=2.0)
    logits = np.round(logits) if ties else logits
    assert metrics.auroc_exact(logits, truth) == pytest.approx(roc_auc_score(truth, logits), abs=1e-12)


def test_exact_auroc_is_undefined_without_both_classes() -> None:
    assert metrics.auroc_exact(np.array([0.1, 0.2]), np.array([False, False])) is None
    assert metrics.auroc_exact(np.array([]), np.array([], bool)) is None


def test_the_error_of_a_mean_follows_from_sums_and_says_how_sure_a_merit_is() -> None:
    values = np.random.default_rng(2).uniform(size=40)
    mean, squares = np.array([values.mean()]), np.array([(values**2).mean()])
    error = float(metrics.standard_error(mean, squares, np.array([40]))[0])
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    said = metrics.surety("dice", float(mean[0]), error, fewest=40)
    assert said["dice_high"] - said["dice_low"] == pytest.approx(2 * 1.96 * error, rel=1e-3)
    assert (said["dice_error"], said["dice_fewest"]) == (error, 40)


def test_a_score_leaves_out_what_is_not_defined() -> None:
    statistics = {"measured": np.array([[3.0], [4.0]])}
    score = metrics.score_of(
        statistics, {"dice": 0.123456, "hd95": None}, patients=4, model_digest="a" * 64, split="test"
    )
    assert (score.statistics, score.figures) == ({"measured": (3, 4)}, {"dice": 0.1235})
