"""How much more the images of a rare class count at a site, by the classes of the site's own training images.

The site's own counts, and not the federation's, for two reasons: nothing has to leave for them, and where the sites'
classes differ it is each site's own excess of one class that pulls its work away from the others'. A class counts as
much as any other that the site has, up to a bound: no image counts more than `MOST` times what it would by chance, so
that a class of one patient neither is learned by heart nor becomes the site's whole update.
"""

import numpy as np

from shared.metrics import Floats, Integers

MOST = 10.0


def class_weights(counts: Integers) -> Floats:
    """By class, how often each of its images counts; the mean over all images is 1.

    Args:
        counts: (classes,) images of each class; one without any has the weight 0.
    """
    present = max(np.count_nonzero(counts), 1)
    even = np.where(counts > 0, counts.sum() / (present * np.maximum(counts, 1)), 0.0)
    full = np.zeros(
        len(counts), bool
    )  # classes at the bound; what it cuts off goes to the others, until it holds for all
    while True:
        left = counts.sum() - MOST * counts[full].sum()
        scale = left / max(float((even * counts)[~full].sum()), 1.0)
        weights = np.where(full, MOST, even * scale)
        over = (weights > MOST) & ~full
        if not over.any():
            return np.asarray(weights)
        full |= over


def draw_balanced(labels: Integers, rng: np.random.Generator) -> Integers:
    """As many images as there are, with repetition, each as often as its class asks.

    Args:
        labels: as in `Examples.labels`; an image with several findings is one of the rarest, and one with none
            of a class of its own.
        rng: the stream.

    Returns:
        (n,) int64 indices.
    """
    classes = labels if labels.ndim == 1 else _rarest(labels)
    weights = class_weights(np.bincount(classes))[classes]
    return rng.choice(len(classes), size=len(classes), p=weights / weights.sum())


def _rarest(labels: Integers) -> Integers:
    """(n, outputs) of {0, 1} to (n,): 1 + the finding of each image that fewest have, or 0."""
    order = np.argsort(labels.sum(axis=0), kind="stable")
    first = order[labels[:, order].argmax(axis=1)]
    return np.where(labels.any(axis=1), first + 1, 0)
