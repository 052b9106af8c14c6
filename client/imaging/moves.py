"""How training images are moved at random, each by draws of its own, and their masks with them.

Images are (n, channels, size_px, size_px) or (n, 1, slices, size_px, size_px) float32 in -1..1, on any device; masks
(n, *size). What says nothing of places stays as it is. All random numbers come from the stream, on the CPU, so that
they do not depend on the device. A volume is turned and mirrored in the plane of its slices.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from client.imaging.transforms import BLACK, Augment


def moved(*, rotation_deg: float, shift: float, zoom: float) -> Augment:
    """Rotate, shift and zoom by up to so much either way; what comes from outside is black, and of masks 0.

    Args:
        rotation_deg: about the middle of the plane.
        shift: of the edge, along every axis.
        zoom: of the size.
    """

    def move(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        axes = images.dim() - 2
        limits = np.array([math.radians(rotation_deg), *[2 * shift] * axes, zoom])
        draws = torch.from_numpy(rng.uniform(-1, 1, size=(len(images), len(limits))) * limits).to(images)
        grid = _grid(images, angle=draws[:, 0], shift=draws[:, 1 : axes + 1], scale=1 + draws[:, -1])
        return _sampled(images - BLACK, grid, mode="bilinear") + BLACK, _moved(targets, grid)

    return move


def mirrored(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One of the eight symmetries of a square, for images without an up, a left or a side of the body."""
    draws = torch.from_numpy(rng.integers(0, 2, size=(3, len(images))) == 1).to(images.device)
    for asked, turn in zip(draws, (_leftright, _updown, _diagonal), strict=True):
        images = torch.where(_over(asked, images), turn(images), images)
        if _of_places(targets, images):
            targets = torch.where(_over(asked, targets), turn(targets), targets)
    return images, targets


def _leftright(places: Tensor) -> Tensor:
    return places.flip(-1)


def _updown(places: Tensor) -> Tensor:
    return places.flip(-2)


def _diagonal(places: Tensor) -> Tensor:
    return places.transpose(-1, -2)


def _over(asked: Tensor, places: Tensor) -> Tensor:
    return asked.view(-1, *[1] * (places.dim() - 1))


def _of_places(targets: Tensor, images: Tensor) -> bool:
    return targets.dim() == images.dim() - 1


def _moved(targets: Tensor, grid: Tensor) -> Tensor:
    """Masks on the grid of their images: each place has the value of the nearest one, and 0 comes from outside."""
    if not _of_places(targets, grid):
        return targets
    return _sampled(targets[:, None].to(grid.dtype), grid, mode="nearest")[:, 0].to(targets.dtype)


def _grid(images: Tensor, *, angle: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Where each place comes from: a rotated, scaled, shifted grid (n, *size, axes).

    Args:
        images: (n, c, s, s) or (n, c, slices, s, s).
        angle: (n,) radians, in the plane.
        shift: (n, axes) in units of half an edge: along a row, along a column, across the slices.
        scale: (n,).
    """
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.zeros(len(images), shift.shape[1], shift.shape[1], device=images.device)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    turn[:, 2:, 2:] = scale.view(-1, 1, 1)
    return functional.affine_grid(torch.cat([turn, shift[:, :, None]], dim=2), list(images.shape), align_corners=False)


def _sampled(images: Tensor, grid: Tensor, *, mode: str) -> Tensor:
    return functional.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)
