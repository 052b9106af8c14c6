"""What a training step reads of the images that it takes: all of each, or one patch of it, cut at random.

Decides where a patch lies: with the study's chance it is centred on a place of a structure, chosen among all of them
alike, and moved into the image where it would reach beyond; else it lies anywhere, every place as likely as any other.
Of an image only the patch is read and scaled; of its mask all is read where a structure is looked for. That is MONAI's
RandCropByPosNegLabel, but that what is not positive may lie anywhere, and that the draws come from the stream that it
is handed (docs/adr/0013).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from shared.metrics import Integers
from shared.patch import PatchSpec

Read = Callable[[Integers], tuple[Tensor, Tensor]]


def reader(examples: Examples, patch: PatchSpec | None, draws: np.random.Generator) -> Read:
    """What gives some of the images, scaled for a network, and what it is to say of them.

    Args:
        examples: with masks, if there are patches.
        patch: of which size; None for whole images.
        draws: say where; unused without patches.
    """

    def whole(chosen: Integers) -> tuple[Tensor, Tensor]:
        return to_network(examples.images[chosen]), torch.from_numpy(examples.targets(chosen))

    def cut(chosen: Integers) -> tuple[Tensor, Tensor]:
        assert patch is not None and examples.masks is not None
        size, channels = patch.grid, examples.images.shape[1]
        images = np.empty((len(chosen), channels, *size), np.uint16)
        masks = np.empty((len(chosen), *size), np.int64)
        for at, number in enumerate(chosen.tolist()):
            mask = examples.masks[number]
            place = place_of_patch(mask, patch, draws)
            images[at], masks[at] = examples.images[number][:, *place], mask[place]
        return to_network(images), torch.from_numpy(masks)

    return whole if patch is None else cut


def place_of_patch(mask: NDArray[np.uint16], patch: PatchSpec, draws: np.random.Generator) -> tuple[slice, ...]:
    """Where in an image of this mask a patch is cut."""
    room = np.subtract(mask.shape, patch.grid)
    if draws.random() < patch.positive and len(shown := np.flatnonzero(mask)):
        centre = np.unravel_index(shown[draws.integers(len(shown))], mask.shape)
        first: NDArray[Any] = np.clip(np.subtract(centre, np.floor_divide(patch.grid, 2)), 0, room)
    else:
        first = draws.integers(0, room + 1)
    return tuple(slice(start, start + edge) for start, edge in zip(first.tolist(), patch.grid, strict=True))
