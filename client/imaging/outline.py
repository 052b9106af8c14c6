"""From what a network says of each place to a mask: at each place the number of a structure, or 0.

Decides as the score of a study does: of one structure where it is likelier than not, of several the likeliest. What is
brought back to the image's own places are shares, not masks, so that an edge is as fine there as the image.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # a study has at most 64 structures


def outline(
    logits: NDArray[np.floating[Any]], own: Callable[[NDArray[np.float32]], NDArray[np.float32]], *, several: bool
) -> Mask:
    """The mask of one image.

    Args:
        logits: (outputs, *grid); of several structures the first is that of none.
        own: brings the shares of one output to the image's own places.
        several: whether there are several structures.
    """
    shares = _shares(np.nan_to_num(logits.astype(np.float32)), several=several)
    best = own(shares[0])
    mask = np.zeros(best.shape, np.uint8)
    if not several:
        return np.asarray(best >= 0.5, np.uint8)
    for number, plane in enumerate(shares[1:], 1):
        there = own(plane)
        mask[there > best] = number
        best = np.maximum(best, there)
    return mask


def _shares(logits: NDArray[np.float32], *, several: bool) -> NDArray[np.float32]:
    """Probabilities over the outputs; of a single output its own."""
    if not several:
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)), np.float32)
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float32)
