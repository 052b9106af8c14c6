"""The bound on norms: three rounds back, the median, and a floor."""

import math

import pytest

from server.norms import MEDIAN_FLOOR, NormHistory


def test_no_history_no_bound() -> None:
    assert NormHistory().bound(10.0) == math.inf
    assert NormHistory().after(()).bound(10.0) == math.inf


def test_the_median_of_the_last_three_rounds_counts() -> None:
    history = NormHistory()
    for norms in [(1000.0, 1000.0), (3.0, 1.0), (2.0,), (5.0, 4.0)]:
        history = history.after(norms)
    assert history.rounds == ((1.0, 3.0), (2.0,), (4.0, 5.0))
    assert history.bound(10.0) == 30.0


def test_a_round_of_zeros_leaves_a_tiny_bound() -> None:
    assert NormHistory().after((0.0, 0.0)).bound(10.0) == pytest.approx(10 * MEDIAN_FLOOR)


def test_it_survives_json() -> None:
    history = NormHistory().after((0.1, 1 / 3)).after((2.0,))
    assert NormHistory.model_validate_json(history.model_dump_json()) == history
