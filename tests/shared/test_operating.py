"""Cuts keep what they promise on the patients that chose them, and intervals are Wilson's."""

import numpy as np
import pytest
from scipy.stats import binomtest

from shared import metrics
from shared.operating import cut_at_specificity, performance_at, wilson


@pytest.mark.parametrize(("part", "whole"), [(0, 7), (7, 7), (3, 10), (199, 210)])
def test_the_interval_is_wilsons(part: int, whole: int) -> None:
    expected = binomtest(part, whole).proportion_ci(method="wilson")
    found = wilson(part, whole)
    assert found is not None
    assert found == pytest.approx((part / whole, expected.low, expected.high))


def test_nothing_has_no_share() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize("asked", [0.5, 0.9, 0.95, 1.0])
def test_the_cut_is_the_lowest_that_keeps_the_specificity(asked: float) -> None:
    rng = np.random.default_rng(4)
    counts = metrics.histogram(rng.normal(0, 2, 200), np.arange(200) < 80)
    cut = cut_at_specificity(counts, asked)
    assert cut is not None
    kept = performance_at(counts, cut).specificity
    assert kept is not None and kept.value >= asked
    lower = metrics.EDGES[np.flatnonzero(cut == metrics.EDGES)[0] - 1]
    less = performance_at(counts, float(lower)).specificity
    assert less is not None and less.value < asked


def test_a_side_without_patients_has_no_figure() -> None:
    counts = metrics.histogram(np.array([1.0, 2.0]), np.array([True, True]))
    assert cut_at_specificity(counts, 0.9) is None
    found = performance_at(counts, 1.5)
    assert found.specificity is None
    assert found.sensitivity is not None and found.sensitivity.value == 0.5
