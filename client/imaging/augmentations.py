"""The ways to vary training images, by name: each a list of steps that suits a kind of image.

A step is kept out where it would make an image that no machine makes, or a label wrong. Only images that have no side
are mirrored: on an x-ray it would move the heart to the other side. Values of a CT are Hounsfield units on every
scanner, so that they are neither stretched nor bent; those of an MRI mean nothing by themselves. What a step draws is
drawn anew for each image from the stream that it is handed.
"""

import numpy as np
from torch import Tensor

from client.imaging.moves import mirrored, moved
from client.imaging.shades import bias, colour, gain, gamma, noise, shaded, speckle
from client.imaging.transforms import Augment


def augmentation(name: str) -> Augment | None:
    """The augmentation that an ImageSpec names, or None where it names none.

    Raises:
        ValueError: there is no augmentation of that name.
    """
    if name == "none":
        return None
    if name not in _SETS:
        raise ValueError(f"unknown augmentation {name}")
    return _in_order(*_SETS[name])


def _in_order(*steps: Augment) -> Augment:
    def vary(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        for step in steps:
            images, targets = step(images, targets, rng)
        return images, targets

    return vary


_LITTLE = moved(rotation_deg=10, shift=0.05, zoom=0.05)
_MORE = moved(rotation_deg=10, shift=0.05, zoom=0.1)
_SETS: dict[str, tuple[Augment, ...]] = {
    "light": (_LITTLE, shaded(gain(0.1))),
    "xray": (_MORE, shaded(gamma(0.2), gain(0.1), noise(0.02))),
    "ct": (_MORE, shaded(noise(0.02))),
    "mri": (_MORE, shaded(bias(0.2), gamma(0.2), gain(0.1), noise(0.03))),
    "ultrasound": (_MORE, shaded(bias(0.2), gamma(0.2), gain(0.1), speckle(0.2))),
    "dermoscopy": (mirrored, shaded(gain(0.1), colour(0.05))),
    "pathology": (mirrored, shaded(gain(0.1), colour(0.1))),
}
