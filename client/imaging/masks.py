"""What a mask says: at each place of its image the number of a structure, or 0.

Decides which values mean which structure, and why a mask cannot be used. Where it comes from is left to the
sources, how it is brought to the study's size to `fit`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from client.imaging.catalogue import Row
from client.imaging.form import Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.sources import Source
from shared.study import TaskSpec

Mask = NDArray[np.uint16]  # (height, width), or (slices, size_px, size_px)
_OF_MASKS = frozenset(  # what a source knows better than that it cannot read
    {
        Reason.MASK_UNKNOWN,
        Reason.MASK_SIZE,
        Reason.MASK_ELSEWHERE,
        Reason.TOO_LARGE,
        Reason.MEMORY_LIMIT,
        Reason.DECODER_HUNG,
    }
)
_STEP = 257  # between the values of an 8-bit picture that was brought to 16 bits


@dataclass(frozen=True)
class Decoded:
    """An image, and its mask if the task is to find masks."""

    pixels: Pixels
    mask: Mask | None = None


def decode(source: Source, rows: Iterable[Row], task: TaskSpec | None) -> Iterator[Decoded | Reason]:
    """For each row its image, with its mask if the task needs it, or why it cannot be used."""
    rows = tuple(rows)
    if task is None or task.kind != "segmentation":
        yield from (found if isinstance(found, Reason) else Decoded(found) for found in source.decode(rows))
        return
    for pixels, mask in zip(source.decode(rows), source.masks(rows), strict=True):
        yield _paired(pixels, mask, task)


def shown(mask: Mask, task: TaskSpec) -> tuple[int, ...]:
    """For each structure 1 if any place of the mask has it, else 0."""
    values = np.unique(mask)
    return tuple(int(number in values) for number in range(1, len(task.classes) + 1))


def structures(values: Pixels, task: TaskSpec) -> Mask:
    """The mask that stored values stand for.

    Of one structure every value but 0 is it. Of several, value n is the n-th of the study's classes, in pictures
    of 8 bits and of 16.

    Args:
        values: (height, width) or, if all three are alike, (height, width, 3); of a volume as its mask.
        task: names the structures.

    Raises:
        SetAside: a value stands for no structure.
    """
    if values.shape[2:] == (3,):  # colours: a volume has more columns
        if (values != values[..., :1]).any():
            raise SetAside(Reason.MASK_UNKNOWN)
        values = values[..., 0]
    if task.mode == "binary":
        return (values > 0).astype(np.uint16)
    if not (values % _STEP).any():
        values = values // np.uint16(_STEP)
    if values.max(initial=0) > len(task.classes):
        raise SetAside(Reason.MASK_UNKNOWN)
    return values.astype(np.uint16)


def with_shown(rows: Iterable[Row], flags: Iterable[tuple[int, ...]]) -> tuple[Row, ...]:
    """The same rows; those that are used are labelled by what their masks show, one after the other."""
    found = iter(flags)
    return tuple(row if row.set_aside else replace(row, labels=next(found)) for row in rows)


def _paired(pixels: Pixels | Reason, mask: Pixels | Reason, task: TaskSpec) -> Decoded | Reason:
    if isinstance(pixels, Reason):
        return pixels
    if isinstance(mask, Reason):
        return mask if mask in _OF_MASKS else Reason.MASK_UNREADABLE
    if mask.shape[:2] != pixels.shape[:2]:
        return Reason.MASK_SIZE
    try:
        return Decoded(pixels, structures(mask, task))
    except SetAside as error:
        return error.reason
