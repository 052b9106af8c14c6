"""What happens to images between the cache and the network.

Decides the scaling to the network's range and the augmentations by name. Which images form a batch,
and from where the random stream comes, is left to training. No left-right flip: it would move the
heart to the other side and make every label of a side wrong.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Augment = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]  # of images and their targets
_BLACK = -1.0
_MAX_ROTATION_DEG = 10.0
_MAX_SHIFT = 0.05  # of the edge
_MAX_ZOOM = 0.05
_MAX_GAIN = 0.1  # of the intensity above black


def to_network(images: NDArray[np.uint16]) -> Tensor:
    """Scale 0..65535 to -1..1.

    Args:
        images: (n, channels, size_px, size_px) uint16, or (n, 1, slices, size_px, size_px).

    Returns:
        The same shape, float32 on the CPU.
    """
    shares = torch.from_numpy(np.asarray(images, dtype=np.float32)) / 65535
    return (shares - 0.5) / 0.5


def augmentation(name: str) -> Augment | None:
    """The augmentation that an ImageSpec names, or None where it names none.

    Raises:
        ValueError: there is no augmentation of that name.
    """
    if name not in _AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {name}")
    return _AUGMENTATIONS[name]


def light(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Rotate by up to 10 degrees, shift and zoom by up to 5 %, and scale the intensity by up to 10 %.

    A volume is rotated in the plane of its slices, about the patient's long axis. All random numbers come from
    `rng`, on the CPU, so that they do not depend on the device.

    Args:
        images: (n, channels, size_px, size_px) or (n, 1, slices, size_px, size_px) float32 in -1..1, on any device.
        targets: masks (n, *size) move as their images do; what says nothing of places stays.
        rng: the stream; five numbers are drawn per image, six per volume.

    Returns:
        The same shapes, devices and ranges.
    """
    axes = images.dim() - 2
    limits = np.array([math.radians(_MAX_ROTATION_DEG), *[2 * _MAX_SHIFT] * axes, _MAX_ZOOM, _MAX_GAIN])
    shares = rng.uniform(-1, 1, size=(len(images), len(limits)))
    draws = torch.from_numpy(shares * limits).to(torch.float32).to(images.device)
    angle, zoom, gain = draws[:, 0], draws[:, -2], draws[:, -1]
    grid = _grid(images, angle=angle, shift=draws[:, 1 : axes + 1], scale=1 + zoom)
    brighter = _sampled(images - _BLACK, grid, mode="bilinear") * (1 + gain).view(-1, *[1] * (axes + 1))
    return (brighter + _BLACK).clamp(-1, 1), _moved(targets, grid)


def _moved(targets: Tensor, grid: Tensor) -> Tensor:
    """Masks on the grid of their images: each place has the value of the nearest one, and 0 comes from outside."""
    if targets.dim() != grid.dim() - 1:
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


_AUGMENTATIONS: dict[str, Augment | None] = {"none": None, "light": light}
