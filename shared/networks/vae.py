"""A variational autoencoder, small: it learns to draw images such as those that it saw. This module imports torch.

Kingma and Welling, ICLR 2014. Half of each image's code is a mean, half a log variance; in training a code is
drawn from them, else the mean is taken. What the network answers of an image are not places or classes but how far
it got: the reconstruction's error and the code's divergence in nats, which together are the negative evidence lower
bound but for a constant, and how alike image and reconstruction look. So an image never stands beside its own answer.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.images import ImageSpec
from shared.networks.norms import norm_layers

CODE = 32
_CHANNELS = (16, 32, 64)
_VARIANCE = 0.04  # of a pixel about its reconstruction, in the network's range of -1 to 1
_LARGEST_LOG_VARIANCE = 8.0
_WINDOW = 7  # px; of a similarity
_LUMINANCE, _CONTRAST = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # Wang et al. 2004, for a range of 2


class Vae(nn.Module):
    """Three convolutions down to the code, and three up from it.

    Shapes: (batch, channels, size_px, size_px) float32 in -1..1 to (batch, 3): error and divergence in nats, both
    divided by the number of values of an image, and the structural similarity (SSIM).
    """

    def __init__(self, *, images: ImageSpec, norm: str) -> None:
        super().__init__()
        place = images.size_px // 2 ** len(_CHANNELS)
        self._corner = (_CHANNELS[-1], place, place)
        features = _CHANNELS[-1] * place * place
        self.encoder = nn.Sequential(*_down((images.channels, *_CHANNELS), norm))
        self.code = nn.Linear(features, 2 * CODE)
        self.start = nn.Linear(CODE, features)
        self.decoder = nn.Sequential(*_up((*_CHANNELS[::-1], _CHANNELS[0]), norm))
        self.pixels = nn.Conv2d(_CHANNELS[0], images.channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """How far each image is from its reconstruction, and its code from a normal one."""
        mean, spread = self.code(self.encoder(images).flatten(1)).chunk(2, dim=1)
        spread = spread.clamp(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        code = mean + torch.exp(spread / 2) * torch.randn_like(mean) if self.training else mean
        again, values = self.draw(code), images[0].numel()
        error = ((again - images) ** 2).flatten(1).sum(1) / (2 * _VARIANCE * values)
        divergence = (mean**2 + spread.exp() - 1 - spread).sum(1) / (2 * values)
        return torch.stack([error, divergence, similarity(again, images)], dim=1)

    def draw(self, code: Tensor) -> Tensor:
        """(batch, CODE) to images in -1..1."""
        corner = functional.relu(self.start(code)).view(-1, *self._corner)
        return torch.tanh(self.pixels(self.decoder(corner)))


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM over all windows of each of (batch, channels, height, width) in -1..1: (batch,), at most 1."""

    def local(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, _WINDOW, stride=1)

    here, there = local(one), local(other)
    both = local(one * other) - here * there
    spread = local(one**2) - here**2 + local(other**2) - there**2
    shade = (2 * here * there + _LUMINANCE) / (here**2 + there**2 + _LUMINANCE)
    return (shade * (2 * both + _CONTRAST) / (spread + _CONTRAST)).flatten(1).mean(1)


def _down(channels: tuple[int, ...], norm: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), *norm_layers(norm, after, flat=True), nn.ReLU()]
    return layers


def _up(channels: tuple[int, ...], norm: str) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose2d(before, after, 2, stride=2), *norm_layers(norm, after, flat=True), nn.ReLU()]
    return layers
