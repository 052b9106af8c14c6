"""How the light of training images is changed at random, each by draws of its own; masks stay.

A shade takes light, (n, channels, *size) float32 from 0 (black) to 1 (white), and a stream. `shaded` makes a step of
several. Every draw is uniform between minus and plus what is given as `most`. All but `noise` leave black black.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from client.imaging.transforms import BLACK, Augment

Shade = Callable[[Tensor, np.random.Generator], Tensor]
_WHITE = 1.0


def shaded(*shades: Shade) -> Augment:
    """These shades, first to last; after each, light stays between black and white."""

    def shade(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        light = (images - BLACK) / (_WHITE - BLACK)
        for one in shades:
            light = one(light, rng).clamp(0, 1)
        return light * (_WHITE - BLACK) + BLACK, targets

    return shade


def gain(most: float) -> Shade:
    """Brighter or darker as a whole: an exposure, an amplification."""
    return lambda light, rng: light * (1 + _drawn(light, rng, most))


def colour(most: float) -> Shade:
    """Each channel brighter or darker on its own: a lamp, a camera, a stain."""
    return lambda light, rng: light * (1 + _drawn(light, rng, most, light.shape[1]))


def gamma(most: float) -> Shade:
    """Another curve between black and white: light to the power of e**draw."""
    return lambda light, rng: light ** torch.exp(_drawn(light, rng, most))


def bias(most: float) -> Shade:
    """Brighter towards one side, along each axis of its own: a coil, a depth."""

    def change(light: Tensor, rng: np.random.Generator) -> Tensor:
        field = torch.ones_like(light[:, :1])
        for axis in range(2, light.dim()):
            place = torch.linspace(-1, 1, light.shape[axis], device=light.device)
            field = field + _drawn(light, rng, most) * place.view(-1, *[1] * (light.dim() - 1 - axis))
        return light * field

    return change


def noise(most: float) -> Shade:
    """Gaussian noise, its standard deviation drawn."""
    return lambda light, rng: light + _drawn(light, rng, most) * _normal(light, rng)


def speckle(most: float) -> Shade:
    """Gaussian noise that grows with the light, as that of ultrasound does."""
    return lambda light, rng: light * (1 + _drawn(light, rng, most) * _normal(light, rng))


def _drawn(light: Tensor, rng: np.random.Generator, most: float, channels: int = 1) -> Tensor:
    """(n, channels, 1, ...), for each image its own."""
    shape = (len(light), channels, *[1] * (light.dim() - 2))
    return torch.from_numpy(rng.uniform(-most, most, size=shape)).to(light)


def _normal(light: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(light.shape), dtype=np.float32)).to(light)
