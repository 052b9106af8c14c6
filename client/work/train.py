"""A site's local work in one round: so many steps of an optimiser from the incoming weights.

Decides the order of batches and the step. A fresh optimiser serves each round; nothing is kept between
rounds. What may be asked is `TrainingSpec`'s; what a batch costs, `client.work.losses`'; what happens to the
result is `client.work.change`'s. On the CPU the same model, examples, spec, randomness
and thread count give the same weights byte for byte.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from client.floors import Tally
from client.imaging.examples import Examples
from client.imaging.patches import Read, reader
from client.imaging.transforms import Augment
from client.jobs import Drawn
from client.work.device import seed_layers
from client.work.imbalance import draw_balanced
from client.work.losses import Loss, loss_for
from client.work.mixup import mixup
from shared.metrics import Integers
from shared.networks.freezing import mixes_batches, start_training
from shared.patch import PatchSpec
from shared.randomness import StudyRandom
from shared.tasks import Task
from shared.training import STEPS_BOUND, TrainingSpec
from shared.update import Array

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FIRST_SCALE = 1024.0  # of a loss in float16; torch's 65536 costs most networks the first steps of a round
_AXES = {torch.channels_last: 4, torch.channels_last_3d: 5}  # a network of 2D layers may take volumes


@dataclass(frozen=True)
class Fit:
    """What one call of `fit` did.

    `examples` and `patients` are those that could be drawn, `steps` those of the optimiser,
    `seconds` the wall time, `loss` the mean over the batches' images (None without a step), `drawn` those of the steps.
    """

    steps: int
    examples: int
    patients: int
    seconds: float
    loss: float | None
    drawn: Drawn


def fit(
    model: nn.Module,
    examples: Examples,
    spec: TrainingSpec,
    *,
    task: Task,
    random: StudyRandom,
    device: torch.device | str,
    patch: PatchSpec | None = None,
    augment: Augment | None = None,
    correction: Mapping[str, Array] = _NOTHING,
    slower: Mapping[str, float] = _NOTHING,
    on_step: Callable[[int, int | None], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Fit:
    """Train the model in place for one round.

    Args:
        model: holds the incoming weights; it is moved to the device and left there.
        examples: the site's training split.
        spec: optimiser, loss, batch size, and epochs, steps or seconds.
        task: what is learned.
        random: the study's randomness at (round, site); decides order, patches, augmentation, mixup and dropout.
        device: where to compute; AMP, channels-last and pinned memory only on CUDA.
        patch: what each step sees of an image; None for all of it.
        augment: from `client.imaging.augmentations.augmentation`; None leaves images as they are.
        correction: by parameter, what is added to its gradient in every step (SCAFFOLD).
        slower: by parameter, a factor on the learning rate.
        on_step: told, after each step, how many are done of how many (None: as time allows); may raise to stop.
        clock: seconds, for `Fit.seconds` and for the time that a round may take.
    """
    started = clock()
    cost = loss_for(spec, task=task, labels=examples.labels, device=device)
    trainer = _Trainer(model, spec, loss=cost, device=torch.device(device), correction=correction, slower=slower)
    loss, seen, steps = torch.zeros((), device=trainer.device), 0, 0
    smallest, tally = smallest_batch(model), Tally(examples.patients, batch_size=spec.batch_size)
    planned = planned_steps(len(examples), spec, smallest=smallest)
    read = _reading(examples, spec, task=task, patch=patch, augment=augment, random=random)
    with torch.random.fork_rng(devices=trainer.cuda_devices):
        seed_layers(random.child("layers").integer(), trainer.device)
        order = _batches(examples, spec, smallest=smallest, random=random)
        for batch in _in_time(order, spec.seconds_per_round, clock=clock, settle=trainer.settle):
            images, targets = read(batch)
            loss += trainer.step(images, targets, *map(torch.from_numpy, examples.beside(batch))) * len(batch)
            seen, steps = seen + len(batch), steps + 1
            tally.note(batch)
            if on_step is not None:
                on_step(steps, planned)
    mean = float(loss) / seen if seen else None
    return Fit(steps, len(examples), examples.patient_count, clock() - started, mean, tally.drawn)


def _reading(
    examples: Examples,
    spec: TrainingSpec,
    *,
    task: Task,
    patch: PatchSpec | None,
    augment: Augment | None,
    random: StudyRandom,
) -> Read:
    """What reads a batch and varies it, each way by draws of its own."""
    read = reader(examples, patch, random.child("patch").generator())
    ways = (("augment", augment), ("mixup", mixup(spec.mixup, task=task) if spec.mixup else None))
    varied = [(vary, random.child(name).generator()) for name, vary in ways if vary is not None]

    def varied_batch(batch: Integers) -> tuple[Tensor, Tensor]:
        images, targets = read(batch)
        for vary, draws in varied:
            images, targets = vary(images, targets, draws)
        return images, targets

    return varied_batch


class _Trainer:
    def __init__(
        self,
        model: nn.Module,
        spec: TrainingSpec,
        *,
        loss: Loss,
        device: torch.device,
        correction: Mapping[str, Array],
        slower: Mapping[str, float],
    ) -> None:
        self.device = device
        self._cuda = device.type == "cuda"
        self._amp = spec.amp and self._cuda
        self._layout = layout_for(model) if self._cuda else torch.contiguous_format
        self._model = start_training(model.to(device, memory_format=self._layout))  # type: ignore[call-overload]
        self._loss = loss
        self._optimizer = local_optimizer(model, spec, slower=slower)
        self._scaler = torch.amp.GradScaler(device.type, init_scale=_FIRST_SCALE, enabled=self._amp)
        self._mu = spec.proximal_mu
        trained = [p for p in model.parameters() if p.requires_grad]
        self._incoming = [(p, p.detach().clone()) for p in trained] if self._mu else []
        named = dict(model.named_parameters())
        self._correction = [(named[k], torch.from_numpy(v).to(device)) for k, v in correction.items()]

    @property
    def cuda_devices(self) -> list[torch.device]:
        return [self.device] if self._cuda else []

    def step(self, images: Tensor, targets: Tensor, *beside: Tensor) -> Tensor:
        """One step of the optimiser; returns the batch's mean loss, detached, on the device."""
        images, targets = self._to_device(images), self._to_device(targets)
        known = [self._to_device(values) for values in beside]
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=self._amp):
            loss = self._loss(self._model(images, *known).float(), targets)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self._incoming or self._correction:
            self._scaler.unscale_(self._optimizer)
            self._pull_back()
            self._correct()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def settle(self) -> None:
        """Wait until the device has done what it was given; the CPU has, always."""
        if self._cuda:
            torch.cuda.synchronize(self.device)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if not self._cuda:
            return tensor.to(self.device)
        pinned = tensor.pin_memory()
        if pinned.dim() == _AXES.get(self._layout):
            return pinned.to(self.device, non_blocking=True, memory_format=self._layout)
        return pinned.to(self.device, non_blocking=True)

    @torch.no_grad()
    def _pull_back(self) -> None:
        """FedProx (Li et al., MLSys 2020): the gradient of mu/2 |w - incoming|^2."""
        for parameter, incoming in self._incoming:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - incoming, alpha=self._mu)

    @torch.no_grad()
    def _correct(self) -> None:
        """SCAFFOLD (Karimireddy et al., ICML 2020): g - c_i + c."""
        for parameter, correction in self._correction:
            if parameter.grad is not None:
                parameter.grad.add_(correction)


def local_optimizer(model: nn.Module, spec: TrainingSpec, *, slower: Mapping[str, float]) -> Optimizer:
    """A fresh optimiser of the study's kind over all weights that are trained, some at a part of the learning rate."""
    rate, decay = spec.learning_rate, spec.weight_decay
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            by_factor.setdefault(slower.get(name, 1.0), []).append(parameter)
    parameters = [{"params": group, "lr": rate * factor} for factor, group in by_factor.items()]
    if spec.optimizer == "sgd":
        return SGD(parameters, lr=rate, momentum=spec.momentum, weight_decay=decay, foreach=True)
    return (Adam if spec.optimizer == "adam" else AdamW)(parameters, lr=rate, weight_decay=decay, foreach=True)


def layout_for(model: nn.Module) -> torch.memory_format:
    """In which order of axes CUDA convolves images, or volumes, fastest."""
    volumes = any(parameter.dim() == 5 for parameter in model.parameters())
    return torch.channels_last_3d if volumes else torch.channels_last


def smallest_batch(model: nn.Module) -> int:
    """Fewer images than that are no batch: a batch norm cannot take the variance of one value per channel."""
    return 2 if mixes_batches(model) else 1


def planned_steps(count: int, spec: TrainingSpec, *, smallest: int = 1) -> int | None:
    """How many steps a round takes at a site with `count` training images; None if the clock decides."""
    if spec.seconds_per_round is not None:
        return None
    if min(count, spec.batch_size) < smallest:
        return 0
    if spec.epochs_per_round is None:
        return spec.steps_per_round or 0
    whole, rest = divmod(count, spec.batch_size)
    return spec.epochs_per_round * (whole + (rest >= smallest))


def _batches(examples: Examples, spec: TrainingSpec, *, smallest: int, random: StudyRandom) -> Iterator[Integers]:
    """Indices of each batch of the round, smaller ones than `smallest` left out."""
    epochs = count() if spec.epochs_per_round is None else range(spec.epochs_per_round)
    if min(len(examples), spec.batch_size) < smallest:
        return iter(())
    orders = (_order(examples, spec, random.child("order", epoch).generator()) for epoch in epochs)
    starts = range(0, len(examples), spec.batch_size)
    batches = (order[start : start + spec.batch_size] for order in orders for start in starts)
    most = STEPS_BOUND if spec.steps_per_round is None else spec.steps_per_round
    return islice((batch for batch in batches if len(batch) >= smallest), most)


def _order(examples: Examples, spec: TrainingSpec, rng: np.random.Generator) -> Integers:
    """Indices of an epoch: every image once, or as many as there are, drawn by their classes."""
    return rng.permutation(len(examples)) if spec.sampling == "uniform" else draw_balanced(examples.labels, rng)


def _in_time(
    batches: Iterator[Integers], seconds: float | None, *, clock: Callable[[], float], settle: Callable[[], None]
) -> Iterator[Integers]:
    """The batches whose steps fit into so many seconds, judged by the mean step so far; at least one."""
    started = clock() if seconds is not None else 0.0
    for done, batch in enumerate(batches):
        if seconds is not None and done:
            settle()
            if (clock() - started) * (done + 1) / done > seconds:
                return
        yield batch
