"""What happens to images between the cache and the network: the scaling to its range, and the form of what varies them.

Which ways to vary there are, `client/imaging/augmentations.py` says. Which images form a batch, and from where the
random stream comes, is left to training.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Augment = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]  # of images and their targets
BLACK = -1.0


def to_network(images: NDArray[np.uint16]) -> Tensor:
    """Scale 0..65535 to -1..1.

    Args:
        images: (n, channels, size_px, size_px) uint16, or (n, 1, slices, size_px, size_px).

    Returns:
        The same shape, float32 on the CPU.
    """
    shares = torch.from_numpy(np.asarray(images, dtype=np.float32)) / 65535
    return (shares - 0.5) / 0.5
