"""Score a model on one split of a site: what the task measures of each image, joined by patient, counted by the task.

Decides nothing about what the figures are (the task does) or whether they may leave (egress does).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from client.imaging.examples import Examples
from client.imaging.traits import by_patient
from client.imaging.transforms import to_network
from client.work.inferer import inferer
from shared.metrics import Floats, Integers, Mask, Score
from shared.patch import PatchSpec
from shared.subgroups import VALUES, Subgroup, Trait
from shared.tasks import Task

Chosen = Mask | slice  # patients

_MOST_IMAGES = 256
_MOST_PLACES = 2**20  # of all images together: a UNet holds some hundred numbers for each


def measured_by_patient(
    model: nn.Module,
    examples: Examples,
    *,
    task: Task,
    device: torch.device | str,
    patch: PatchSpec | None = None,
    batch_size: int | None = None,
) -> tuple[Floats, Integers]:
    """One row of what the task measures (of classification the logits) and one target per patient.

    The model is moved to the device and comes back in the mode it had.

    Args:
        model: from `build_model`.
        examples: the images to score.
        task: says how a patient's images are joined.
        device: where to compute.
        patch: what the network sees of an image at a time; None for all of it.
        batch_size: images at a time; None for as many as memory holds easily, which are few volumes.

    Returns:
        (patients, columns) float32, and (patients,) or (patients, classes) int64.
    """
    measured = np.zeros((len(examples), task.columns), np.float32)
    infer, was_training = inferer(patch, device=device), model.training
    model.to(device).eval()
    try:
        with torch.inference_mode():
            step = batch_size or _at_once(examples)
            for start in range(0, len(examples), step):
                batch = slice(start, start + step)
                known = map(torch.from_numpy, examples.beside(batch))
                logits = infer(model, to_network(examples.images[batch]), *known)
                measured[batch] = task.measure(logits, torch.from_numpy(examples.targets(batch)))
    finally:
        model.train(was_training)
    return task.by_patient(measured, examples.labels, examples.patients)


def evaluate(
    model: nn.Module,
    examples: Examples,
    *,
    task: Task,
    device: torch.device | str,
    model_digest: str,
    split: Literal["validation", "test"],
    patch: PatchSpec | None = None,
    batch_size: int | None = None,
    traits: Sequence[Trait] = (),
) -> Score:
    """Score the model, whose digest is named in the answer, on one split, and on its subgroups by these traits."""
    measured, targets = measured_by_patient(
        model, examples, task=task, device=device, patch=patch, batch_size=batch_size
    )

    def score(chosen: Chosen = slice(None)) -> Score:
        return task.score(measured[chosen], targets[chosen], model_digest=model_digest, split=split)

    if examples.traits is None or not len(examples):
        return score()
    subgroups = (one for trait in traits for one in _subgroups(examples, trait, score))
    return score().model_copy(update={"subgroups": tuple(subgroups)})


def _subgroups(examples: Examples, trait: Trait, score: Callable[[Chosen], Score]) -> Iterator[Subgroup]:
    assert examples.traits is not None
    places = by_patient(examples.traits, examples.patients, trait)
    for place, value in enumerate(VALUES[trait]):
        if (chosen := places == place).any():
            found = score(chosen)
            yield Subgroup.scored(
                trait, value, patients=found.patients, statistics=found.statistics, figures=found.figures
            )


def _at_once(examples: Examples) -> int:
    return min(_MOST_IMAGES, max(1, _MOST_PLACES // math.prod(examples.images.shape[2:])))
