"""What one patient can change of a step's clipped sum, measured through the very code that trains privately.

Two data sets that differ in one patient are trained on for a single step, into which everybody enters. Both draw
the same noise, from a predictable source that no site ever has, so that it cancels in the difference: what is left
is what the patient added to the sum, and is counted in clip norms. A patient of seven images must not add more
than one of them, nor more if each of its images comes several times.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from client.imaging.examples import Examples
from client.work.private_training import fit_privately
from shared.models import build_model, state_arrays
from shared.private_training import PrivacySpec
from shared.randomness import PrivateRandom, StudyRandom
from shared.study import Study
from shared.tasks import task_for
from shared.training import TrainingSpec

SIZES = (7, 1, 2, 1, 3)  # images of each patient
COPIES = (2, 5)
SLACK = 1e-3  # of a clip norm: sums and noise are float32
_CLIP = 0.05  # below a patient's gradient on a model that has learnt nothing, so that clipping is what is measured
_SEED = 1


def measure(study: Study, examples: Examples) -> dict[str, Any]:
    """Measure on a study's own start model and these images, of which the first are dealt to invented patients.

    Returns:
        `removed`, by patient, and `duplicated`, by how often each image of the first patient comes: how far the
        sum is from the sum without that patient, in clip norms; and what is made of them, `holds`.

    Raises:
        ValueError: there are too few images.
    """
    if len(examples) < sum(SIZES):
        raise ValueError(f"the bound is measured on {sum(SIZES)} images")
    some = _dealt(examples)
    removed = [_apart(study, some, _without(some, patient)) for patient in range(len(SIZES))]
    alone = _without(some, 0)
    duplicated = {str(times): _apart(study, _repeated(some, times), alone) for times in COPIES}
    return {
        "images_of_patients": list(SIZES),
        "removed": [round(norm, 6) for norm in removed],
        "duplicated": {times: round(norm, 6) for times, norm in duplicated.items()},
        "holds": holds([*removed, *duplicated.values()]),
    }


def holds(norms: Sequence[float]) -> bool:
    """Whether none is above one clip norm; and whether one reaches it, without which nothing was clipped."""
    return max(norms) <= 1 + SLACK and max(norms) >= 1 - SLACK


def _apart(study: Study, one: Examples, other: Examples) -> float:
    return float(np.linalg.norm(_moved(study, one) - _moved(study, other))) / _CLIP


def _moved(study: Study, examples: Examples) -> Any:
    """A step at a learning rate of 1 without momentum: minus the noised sum, as one float64 vector."""
    model = build_model(
        study.model, images=study.images, outputs=study.task.outputs, random=StudyRandom(study.study.seed)
    )
    start = state_arrays(model)
    spec = TrainingSpec(learning_rate=1.0, momentum=0.0, batch_size=64, steps_per_round=1)
    privacy = PrivacySpec(
        noise_multiplier=0.2, sampling_rate=1.0, patients_per_step=1, clip_norm=_CLIP, images_per_patient=64
    )
    private = PrivateRandom.seeded_for_tests(_SEED)
    fit_privately(model, examples, spec, privacy, task=task_for(study.task), private=private, device="cpu")
    return _flat(state_arrays(model)) - _flat(start)


def _flat(state: Any) -> Any:
    return np.concatenate([state[name].ravel() for name in sorted(state)]).astype(np.float64)


def _dealt(examples: Examples) -> Examples:
    """As many images as the invented patients have, to them in order."""
    owners = np.repeat(np.arange(len(SIZES), dtype=np.int64), SIZES)
    return Examples(examples.images[: len(owners)], examples.labels[: len(owners)], owners)


def _without(examples: Examples, patient: int) -> Examples:
    others = examples.patients != patient
    dense = np.unique(examples.patients[others], return_inverse=True)[1].astype(np.int64)
    return Examples(examples.images[others], examples.labels[others], dense)


def _repeated(examples: Examples, times: int) -> Examples:
    """Each image of the first patient so many times."""
    chosen = [*range(len(examples)), *_copies(np.flatnonzero(examples.patients == 0), times - 1)]
    return Examples(examples.images[chosen], examples.labels[chosen], examples.patients[chosen])


def _copies(of: Iterable[int], times: int) -> list[int]:
    return [int(index) for index in of for _ in range(times)]
