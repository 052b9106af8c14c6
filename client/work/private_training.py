"""A site's local work in one round of a private study: DP-SGD (Abadi et al. 2016) whose unit is the patient.

1. In each step every patient enters with probability `sampling_rate`, independently of all others.
2. Of a patient who entered at most `images_per_patient` images are used, drawn anew in each step.
3. The gradients of these images are summed, and the patient's sum is clipped to the L2 norm `clip_norm`. A
   patient whose gradient is not finite adds nothing.
4. The sum over patients gets Gaussian noise of `noise_multiplier * clip_norm`. A step without any patient is
   a step of noise alone.
5. It is divided by the study's constant `patients_per_step`: dividing by the number of patients at the site
   would tell that number by the size of the noise.
6. What is frozen has no gradient and no part in the bound.
7. Momentum, Adam, weight decay and the proximal term see nothing but the noised gradient and the weights.

Every draw that an image depends on (who enters, augmentation, dropout) is private: from the study's own
stream, which anybody can draw again, a patient's absence would shift the draws of all others.

What is open: noise and sums are float32 and float64 of the machine, not a discrete Gaussian; the generator is
numpy's PCG64DXSM under 256 bits of the operating system for each step, not a cryptographic one.

The bound and the noise are Opacus' optimizer's, but for what a patient is; gradients are torch.func's. What a
study may ask, `shared/private_training.py` says; what it costs, `shared/privacy.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.optim import Optimizer

from client.imaging.examples import Examples
from client.imaging.patches import reader
from client.imaging.transforms import Augment
from client.work.losses import Loss, loss_for
from client.work.train import local_optimizer
from shared.metrics import Integers
from shared.networks.freezing import mixes_batches, start_training, trained_parameters
from shared.patch import PatchSpec
from shared.private_training import PrivacySpec
from shared.randomness import PrivateRandom
from shared.tasks import Task
from shared.training import TrainingSpec

Drawn = Sequence[Integers]  # for each patient who entered, the indices of its images
_NOTHING: Mapping[str, float] = MappingProxyType({})
_NOBODYS = np.zeros(0, np.int64)  # labels: no loss of a private study may weigh by those of the site


def fit_privately(
    model: nn.Module,
    examples: Examples,
    spec: TrainingSpec,
    privacy: PrivacySpec,
    *,
    task: Task,
    private: PrivateRandom,
    device: torch.device | str,
    patch: PatchSpec | None = None,
    augment: Augment | None = None,
    slower: Mapping[str, float] = _NOTHING,
    on_step: Callable[[int, int | None], None] | None = None,
) -> int:
    """Train the model in place for one round, privately.

    Args:
        model: holds the incoming weights; it is moved to the device and left there.
        examples: the site's training split.
        spec, privacy: optimiser, steps, and images worked on at a time (`batch_size`); rate, bound and noise.
        task: what is learned.
        private: where every draw comes from.
        device: where to compute.
        patch: what each step sees of an image; None for all of it.
        augment: from `client.imaging.augmentations.augmentation`; None leaves images as they are.
        slower: by parameter, a factor on the learning rate.
        on_step: told, after each step, how many are done of how many; may raise to stop.

    Returns:
        The steps taken, which are always those that were asked for.

    Raises:
        ValueError: a layer of the model mixes the images of a batch, or no number of steps is asked for.
    """
    steps = spec.steps_per_round or 0
    if mixes_batches(model) or not steps:
        raise ValueError("private training takes steps_per_round and a model without batch norm")
    trainer = _Trainer(model, spec, privacy, task=task, private=private, device=device, patch=patch, slower=slower)
    patients, draws = images_by_patient(examples.patients), private.generator()
    try:
        with torch.random.fork_rng(devices=trainer.cuda_devices):
            torch.manual_seed(int.from_bytes(private.bytes(8), "little") >> 1)
            for done in range(1, steps + 1):
                drawn = draw_patients(patients, privacy, draws)
                trainer.step(examples, list(whole_batches(drawn, most=spec.batch_size)), augment, draws)
                if on_step is not None:
                    on_step(done, steps)
    finally:
        trainer.forget()
    return steps


# ------------------------------------------------------------------ who enters


def images_by_patient(patients: Integers) -> Drawn:
    """(n,) dense index of each image's patient to the indices of each patient's images."""
    order = np.argsort(patients, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patients[order])) + 1) if len(patients) else []


def draw_patients(patients: Drawn, privacy: PrivacySpec, draws: np.random.Generator) -> Drawn:
    """Rules 1 and 2: a Poisson sample of the patients, and of each the images that enter."""
    entered = np.flatnonzero(draws.random(len(patients)) < privacy.sampling_rate)
    most = privacy.images_per_patient
    everything = (patients[patient] for patient in entered.tolist())
    return [own if len(own) <= most else draws.choice(own, most, replace=False) for own in everything]


def whole_batches(drawn: Drawn, *, most: int) -> Iterator[Drawn]:
    """The patients of a step in batches of at most so many images, no patient in two; never no batch at all.

    A patient with more images than that is a batch of its own.
    """
    batch: list[Integers] = []
    for own in drawn:
        if batch and sum(map(len, batch)) + len(own) > most:
            yield batch
            batch = []
        batch.append(own)
    yield batch


# ------------------------------------------------------------------ a step


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Opacus' DP-SGD, but the unit that is clipped is the patient, and the noise is private (rules 3 to 5).

    Args:
        optimizer: takes the step with the noised gradient.
        privacy: bound, noise and divisor.
        private: gives the noise.
    """

    def __init__(self, optimizer: Optimizer, privacy: PrivacySpec, private: PrivateRandom) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=privacy.noise_multiplier,
            max_grad_norm=privacy.clip_norm,
            expected_batch_size=privacy.patients_per_step,
        )
        self._private = private
        self.owners = torch.zeros((0, 0))  # (patients, images): 1 where the image is the patient's

    def clip_and_accumulate(self) -> None:
        """Sum each patient's images, then clip and add up as Opacus does with samples."""
        unsound = self._take_unsound_images_out()
        for parameter in self.params:
            parameter.grad_sample = (self.owners @ parameter.grad_sample.flatten(1)).view(-1, *parameter.shape)
            unsound |= ~_all_finite(parameter.grad_sample)  # a sum of large numbers is none, either
        for parameter in self.params:
            parameter.grad_sample[unsound] = 0
        super().clip_and_accumulate()

    def _take_unsound_images_out(self) -> Tensor:
        """Make gradients zero that are not finite, for 0 times them would be in every sum; whose they were."""
        sound = torch.ones(self.owners.shape[1], dtype=torch.bool, device=self.owners.device)
        for parameter in self.params:
            sound &= _all_finite(parameter.grad_sample)
        for parameter in self.params:
            parameter.grad_sample[~sound] = 0
        return (self.owners @ (~sound).to(self.owners.dtype)) > 0

    def add_noise(self) -> None:
        """Cover the sum with noise of the site's own."""
        noise, deviation = self._private.generator(), self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            drawn = torch.from_numpy(noise.standard_normal(tuple(parameter.shape), dtype=np.float32))
            parameter.grad = parameter.summed_grad + deviation * drawn.to(parameter.device)


class _Trainer:
    def __init__(
        self,
        model: nn.Module,
        spec: TrainingSpec,
        privacy: PrivacySpec,
        *,
        task: Task,
        private: PrivateRandom,
        device: torch.device | str,
        patch: PatchSpec | None,
        slower: Mapping[str, float],
    ) -> None:
        self._device, self._patch = torch.device(device), patch
        self._model = start_training(model.to(device))
        self._optimizer = PatientOptimizer(local_optimizer(model, spec, slower=slower), privacy, private)
        cost = loss_for(spec, task=task, labels=_NOBODYS, device=device)
        self._gradients = gradients_of(model, cost)
        if spec.proximal_mu:
            incoming = [(p, p.detach().clone()) for p in self._optimizer.params]
            self._optimizer.attach_step_hook(lambda _: _pull_back(incoming, spec.proximal_mu))

    @property
    def cuda_devices(self) -> list[torch.device]:
        return [self._device] if self._device.type == "cuda" else []

    def step(
        self, examples: Examples, batches: list[Drawn], augment: Augment | None, draws: np.random.Generator
    ) -> None:
        for number, batch in enumerate(batches, 1):
            self._optimizer.zero_grad(set_to_none=True)
            self._work(examples, batch, augment, draws)
            self._optimizer.signal_skip_step(do_skip=number < len(batches))
            self._optimizer.step()

    def forget(self) -> None:
        """Let no gradient of a patient stay with the model, which is used again."""
        for parameter in self._optimizer.params:
            parameter.grad = None
            parameter.__dict__.pop("grad_sample", None)
            parameter.__dict__.pop("summed_grad", None)

    def _work(self, examples: Examples, batch: Drawn, augment: Augment | None, draws: np.random.Generator) -> None:
        """Leave each image's gradient with its parameter, and whose image it is with the optimizer."""
        sizes = torch.tensor([len(own) for own in batch], dtype=torch.int64)
        whose = torch.repeat_interleave(sizes)
        self._optimizer.owners = nn.functional.one_hot(whose, max(len(batch), 1)).T.float().to(self._device)
        named = trained_parameters(self._model)
        if not batch:
            found = {name: parameter.new_zeros((0, *parameter.shape)) for name, parameter in named.items()}
        else:
            chosen = np.concatenate(batch)
            images, targets = reader(examples, self._patch, draws)(chosen)
            images, targets = (images, targets) if augment is None else augment(images, targets, draws)
            known = (torch.from_numpy(values).to(self._device) for values in examples.beside(chosen))
            found = self._gradients(images.to(self._device), targets.to(self._device), *known)
        for name, parameter in named.items():
            parameter.grad_sample = found[name]  # type: ignore[attr-defined]


def gradients_of(model: nn.Module, cost: Loss) -> Callable[..., dict[str, Tensor]]:
    """A function of (n, ...) images, targets and perhaps clinical values: the gradients of each image, by parameter.

    They have the shape (n, *shape).
    """

    def loss(weights: dict[str, Tensor], image: Tensor, target: Tensor, known: tuple[Tensor, ...]) -> Tensor:
        seen = (image[None], *(values[None] for values in known))
        return cost(functional_call(model, weights, seen), target[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0, 0), randomness="different")

    def gradients(images: Tensor, targets: Tensor, *known: Tensor) -> dict[str, Tensor]:
        weights = {name: parameter.detach() for name, parameter in trained_parameters(model).items()}
        found: dict[str, Any] = each(weights, images, targets, known)
        return found

    return gradients


def _all_finite(gradients: Tensor) -> Tensor:
    """(n, ...) to (n,) whether all of a row is finite."""
    return gradients.flatten(1).isfinite().all(dim=1)


@torch.no_grad()
def _pull_back(incoming: list[tuple[nn.Parameter, Tensor]], mu: float) -> None:
    """FedProx: the gradient of mu/2 |w - incoming|^2, of which no patient is part."""
    for parameter, origin in incoming:
        assert parameter.grad is not None
        parameter.grad.add_(parameter - origin, alpha=mu)
