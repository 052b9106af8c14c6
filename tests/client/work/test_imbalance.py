"""How much more rare classes count, and how images are drawn by them."""

import numpy as np
import pytest

from client.work.imbalance import MOST, class_weights, draw_balanced


def test_classes_weigh_alike_and_images_one_in_the_mean() -> None:
    counts = np.array([60, 30, 10])
    weights = class_weights(counts)
    assert weights * counts == pytest.approx(np.full(3, 100 / 3))


def test_a_class_that_the_site_lacks_weighs_nothing_and_moves_nobody() -> None:
    assert class_weights(np.array([50, 0, 50])) == pytest.approx([1, 0, 1])
    assert class_weights(np.array([0, 0])) == pytest.approx([0, 0])


@pytest.mark.parametrize(
    "counts", [(2000, 100, 1), (1000, 1), (10_000, 1, 1), (5000, 1, 1, 1, 1, 1, 1), (300, 40, 40, 0, 2), (1, 1, 1)]
)
def test_no_image_weighs_more_than_the_bound_and_images_one_in_the_mean(counts: tuple[int, ...]) -> None:
    images = np.array(counts)
    weights = class_weights(images)
    assert (weights * images).sum() == pytest.approx(images.sum())
    assert weights.max() <= MOST * (1 + 1e-9)
    assert all(np.diff(weights[images > 0][np.argsort(images[images > 0])]) <= 1e-9)  # the rarer, the more


def test_classes_are_drawn_alike_often() -> None:
    labels = np.repeat([0, 1, 2], [900, 270, 90])
    chosen = draw_balanced(labels, np.random.default_rng(0))
    assert len(chosen) == len(labels)
    assert np.bincount(labels[chosen]) / len(labels) == pytest.approx(np.full(3, 1 / 3), abs=0.05)


def test_the_rarest_finding_of_an_image_decides() -> None:
    """A common finding, a rare one that never comes alone, and images without any: all three are drawn alike."""
    labels = np.zeros((1000, 2), np.int64)
    labels[:500, 0] = labels[:100, 1] = 1
    chosen = draw_balanced(labels, np.random.default_rng(0))
    rare, none = labels[chosen, 1].mean(), (~labels[chosen].any(axis=1)).mean()
    assert (rare, none) == pytest.approx((1 / 3, 1 / 3), abs=0.05)


def test_the_same_stream_draws_the_same_images() -> None:
    labels = np.arange(40) % 2
    first, second, other = (draw_balanced(labels, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
