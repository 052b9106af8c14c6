"""From what a network says of each place to a mask: at each place the number of a structure, or 0.

Decides as the score of a study does: of one structure where it is likelier than not, of several the likeliest. What is
brought back to the image's own places are shares, not masks, so that an edge is as fine there as the image. They come
back plane by plane, so that of a large scan no more is held than its mask.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # a study has at most 64 structures
Own = Callable[[NDArray[np.float32]], Iterable[NDArray[np.float32]]]


def outline(logits: NDArray[np.floating[Any]], own: Own, *, shape: Sequence[int], several: bool) -> Mask:
    """The mask of one image.

    Args:
        logits: (outputs, *grid); of several structures the first is that of none.
        own: brings the shares of one output to the image's own places, (rows, columns) for each of its planes.
        shape: (rows, columns) of the image, or (planes, rows, columns).
        several: whether there are several structures.
    """
    finite = logits.astype(np.float32)
    for one in finite:
        np.nan_to_num(one, copy=False)
    shares = _shares(finite, several=several)
    mask = np.zeros((*([1] if len(shape) == 2 else []), *shape), np.uint8)
    for number, planes in enumerate(zip(*map(own, shares), strict=True)):
        mask[number] = _called(planes) if several else planes[0] >= 0.5
    return mask.reshape(shape)


def _called(planes: Sequence[NDArray[np.float32]]) -> Mask:
    """The likeliest at each place; the first of those that are as likely."""
    best, called = planes[0], np.zeros(planes[0].shape, np.uint8)
    for number, plane in enumerate(planes[1:], 1):
        called[plane > best] = number
        best = np.maximum(best, plane)
    return called


def _shares(logits: NDArray[np.float32], *, several: bool) -> NDArray[np.float32]:
    """Probabilities over the outputs, made where the logits lie, for they are large; of a single output its own."""
    if several:
        logits -= logits.max(axis=0)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=0)
        return logits
    np.logaddexp(0.0, np.negative(logits, out=logits), out=logits)
    return np.exp(np.negative(logits, out=logits), out=logits)
