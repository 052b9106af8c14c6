"""What a batch costs while a site trains: the task's own loss, or one for classes of unequal size.

    cross_entropy   the task's loss
    weighted        each class weighs as `client/work/imbalance.py` says, by the site's own training images
    focal           -(1 - p)**gamma log p of the truth (Lin et al., ICCV 2017): what is sure already counts little

Of several classes of which one is true, p comes from the softmax; else each output is a yes and a no of its own. The
truth may be shares instead of classes, as mixup makes them. Models are scored by the task's loss, whatever trained
them.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from client.work.imbalance import class_weights
from shared.classification import Classification
from shared.metrics import Floats, Integers
from shared.tasks import Task
from shared.training import TrainingSpec

Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and targets: their mean, a scalar
_LEAST = 1e-6  # 1 - p whose power still has a gradient


def loss_for(spec: TrainingSpec, *, task: Task, labels: Integers, device: torch.device | str) -> Loss:
    """The loss that a study asks for.

    Args:
        spec: names it.
        task: a classification, unless the loss is the task's own.
        labels: of the site's training images, as in `Examples.labels`; for weights only.
        device: where the logits are.
    """
    if spec.loss == "cross_entropy":
        return task.loss
    assert isinstance(task, Classification)
    if spec.focal_gamma is not None:
        return partial(_mean_cost, exclusive=task.spec.exclusive, factor=partial(_focus, gamma=spec.focal_gamma))
    weights = torch.from_numpy(_weights(labels, task)).to(device, torch.float32)
    return partial(_mean_cost, exclusive=task.spec.exclusive, factor=lambda _: weights)


def shares_of(target: Tensor, *, exclusive: bool, outputs: int) -> Tensor:
    """(n, outputs) float32: which share of each class is true; shares stay what they are."""
    if target.is_floating_point():
        return target
    if exclusive:
        return (target[:, None] == torch.arange(outputs, device=target.device)).float()
    return target.reshape(-1, outputs).float()


def _mean_cost(logits: Tensor, target: Tensor, *, exclusive: bool, factor: Callable[[Tensor], Tensor]) -> Tensor:
    """-log p of what is true, times its factor: a sum over the answers, a mean over all else.

    The answers are the classes, (n, outputs), or the no and yes of each output, (n, outputs, 2).
    """
    truth = shares_of(target, exclusive=exclusive, outputs=logits.shape[1])
    if exclusive:
        logs = functional.log_softmax(logits, dim=1)
    else:
        logs = torch.stack([functional.logsigmoid(-logits), functional.logsigmoid(logits)], dim=2)
        truth = torch.stack([1 - truth, truth], dim=2)
    return -(truth * factor(logs) * logs).sum(dim=-1).mean()


def _focus(logs: Tensor, *, gamma: float) -> Tensor:
    return (-torch.expm1(logs)).clamp_min(_LEAST) ** gamma


def _weights(labels: Integers, task: Classification) -> Floats:
    """Of each answer of `_mean_cost`."""
    if task.spec.exclusive:
        return class_weights(np.bincount(labels, minlength=task.outputs))
    yes = labels.reshape(-1, task.outputs).sum(axis=0)
    return np.stack([class_weights(np.array([len(labels) - n, n])) for n in yes])
