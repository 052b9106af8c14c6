"""Scalings are the likeliest ones, and probabilities are held against what happened."""

import numpy as np
import pytest
from scipy.optimize import minimize

from shared import metrics
from shared.calibration import (
    FEWEST,
    MIDDLES,
    Scaling,
    agreement,
    fit_scaling,
    probabilities,
    reliability,
)
from shared.metrics import Integers


def patients(n: int, *, slope: float, offset: float, seed: int = 1) -> Integers:
    """A histogram of patients whose outcome follows a logistic curve of their logit."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, n)
    return metrics.histogram(logits, rng.random(n) < 1 / (1 + np.exp(-(slope * logits + offset))))


def test_the_scaling_is_the_likeliest_one() -> None:
    counts = patients(400, slope=0.5, offset=1.0)
    found = fit_scaling(counts)
    negatives, positives = counts.sum(axis=1)
    wanted = counts[1] * (positives + 1) / (positives + 2) + counts[0] / (negatives + 2)

    def loss(at: list[float]) -> float:
        curve = at[0] * MIDDLES + at[1]
        return float((counts.sum(axis=0) * np.logaddexp(0, curve) - wanted * curve).sum())

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert found is not None
    assert [found.slope, found.offset] == pytest.approx(best.x, abs=1e-4)


def test_the_curve_of_many_patients_is_found_again() -> None:
    found = fit_scaling(patients(200_000, slope=0.4, offset=-0.7))
    assert found is not None
    assert (found.slope, found.offset) == pytest.approx((0.4, -0.7), abs=0.03)


def test_patients_told_apart_by_every_score_get_a_finite_slope() -> None:
    logits = np.concatenate([np.full(20, -3.0), np.full(20, 3.0)])
    found = fit_scaling(metrics.histogram(logits, np.arange(40) >= 20))
    assert found is not None
    assert 0 < found.slope < 10


@pytest.mark.parametrize("side", [0, 1])
def test_too_few_of_a_side_fit_nothing(side: int) -> None:
    counts = np.zeros((2, metrics.BINS), np.int64)
    counts[side, 100], counts[1 - side, 900] = FEWEST - 1, 500
    assert fit_scaling(counts) is None


def test_scores_that_run_backwards_fit_nothing() -> None:
    assert fit_scaling(patients(500, slope=-1.0, offset=0.0)) is None


def test_scaled_probabilities_agree_better_than_those_before() -> None:
    chosen, others = patients(4000, slope=0.4, offset=1.0), patients(4000, slope=0.4, offset=1.0, seed=2)
    scaling = fit_scaling(chosen)
    before, after = agreement(others, None), agreement(others, scaling)
    assert after.error < 0.03 < 0.1 < before.error
    assert before.slope == pytest.approx(0.4, abs=0.06)
    assert after.slope == pytest.approx(1.0, abs=0.1)
    assert after.offset == pytest.approx(0.0, abs=0.15)


def test_agreement_of_few_has_no_fit_and_yet_a_distance() -> None:
    counts = metrics.histogram(np.array([-1.0, 1.0]), np.array([False, True]))
    found = agreement(counts, None)
    assert (found.slope, found.offset) == (None, None)
    assert found.error == pytest.approx(1 / (1 + np.exp(1)), abs=0.01)


def test_the_bins_hold_every_patient_and_none_is_smaller_than_asked() -> None:
    counts = patients(300, slope=1.0, offset=0.0)
    bins = reliability(counts, None, fewest=25)
    assert sum(b.patients for b in bins) == 300
    assert min(b.patients for b in bins) >= 25
    assert sum(b.patients * b.share for b in bins) == pytest.approx(counts[1].sum())
    assert reliability(counts, None, fewest=301) == ()


def test_probabilities_of_exclusive_classes_add_up() -> None:
    margins = np.array([[2.0, -1.0, 0.0], [-3.0, -3.0, 4.0]])
    scalings = [Scaling(slope=0.5, offset=0.1), Scaling(slope=2, offset=0), Scaling(slope=1, offset=-1)]
    shares = probabilities(margins, scalings, exclusive=True)
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    alone = probabilities(margins, scalings, exclusive=False)
    assert alone[0, 0] == pytest.approx(1 / (1 + np.exp(-1.1)))
    assert shares[0] == pytest.approx(alone[0] / alone[0].sum())
    assert probabilities(margins, None, exclusive=False)[1, 2] == pytest.approx(1 / (1 + np.exp(-4)))
