"""Mixup (Zhang et al., ICLR 2018): a network learns from means of two images, each with the share of its label.

Decides who is mixed with whom, and how much: each image of a batch with another one, drawn from the same batch, at a
share from Beta(alpha, alpha). What the shares cost is `client/work/losses.py`'s.
"""

import numpy as np
import torch
from torch import Tensor

from client.imaging.transforms import Augment
from client.work.losses import shares_of
from shared.classification import Classification
from shared.tasks import Task


def mixup(alpha: float, *, task: Task) -> Augment:
    """A step on a batch of images and their labels, which become shares, (n, outputs) float32.

    Args:
        alpha: of the Beta distribution; small ones leave most images nearly what they are.
        task: a classification.
    """
    assert isinstance(task, Classification)
    exclusive, outputs = task.spec.exclusive, task.outputs

    def mix(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        count = len(images)
        share = torch.from_numpy(rng.beta(alpha, alpha, count)).to(images)
        other = torch.from_numpy(rng.permutation(count)).to(images.device)
        truth = shares_of(targets, exclusive=exclusive, outputs=outputs)
        mean = share.view(-1, *[1] * (images.dim() - 1))
        return torch.lerp(images[other], images, mean), torch.lerp(truth[other], truth, share[:, None])

    return mix
