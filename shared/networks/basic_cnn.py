"""The small network for small images. This module imports torch."""

import math

import torch
from torch import Tensor, nn

from shared.images import ImageSpec
from shared.networks.norms import norm_layers

_CHANNELS = (16, 32, 64)
_GRID = 4  # the hidden layer sees at most 4 places along each axis


class BasicCnn(nn.Module):
    """Three blocks of convolution, norm, ReLU and max pooling by two; one hidden layer.

    Pools never overlap, so that their gradients are deterministic on every device. Images whose
    last map has more than 4 places along an axis are pooled once more, down to at most that.

    Shapes: (batch, *images.shape) float32 to (batch, outputs) float32.
    """

    def __init__(self, *, images: ImageSpec, outputs: int, norm: str, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before: int = images.channels
        flat = images.slices is None
        convolution, pool = (nn.Conv2d, nn.MaxPool2d) if flat else (nn.Conv3d, nn.MaxPool3d)
        for after in _CHANNELS:
            block = convolution(before, after, 3, padding=1)
            layers += [block, *norm_layers(norm, after, flat=flat), nn.ReLU(), pool(2)]
            before = after
        sides = [side // 2 ** len(_CHANNELS) for side in images.grid]
        last = tuple(math.ceil(side / _GRID) for side in sides)
        if max(last) > 1:
            layers.append(pool(last))
        self.features = nn.Sequential(*layers)
        places = math.prod(side // by for side, by in zip(sides, last, strict=True))
        self.hidden = nn.Linear(before * places, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images."""
        hidden = torch.relu(self.hidden(self.features(images).flatten(1)))
        return self.head(hidden)  # type: ignore[no-any-return]
