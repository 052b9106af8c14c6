"""What a study asks when it trains privately (patient-level DP-SGD), and with which other keys that goes.

All of it is public: nothing that the noise is measured by follows from a site's data. How a step is taken is
`client/work/private_training.py`'s matter, what it costs `shared/privacy.py`'s.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.privacy import History, Mechanism
from shared.section import Section
from shared.training import TrainingSpec

_UNSHOWN = {
    "fednova": "fednova normalises by steps, and with [privacy] every site takes the same; use fedavg or fedprox",
    "fedbn": "fedbn is not shown to be private here; use fedavg or fedprox",
    "scaffold": "scaffold releases control variates that are not shown to be private; use fedavg or fedprox",
}
_UNEQUAL = (
    "[privacy] draws every patient with one probability and bounds what each alone adds: it goes with neither"
    " sampling = class_balanced nor mixup nor loss = weighted, whose weights are counts of the site's patients;"
    " use uniform, mixup = 0, and cross_entropy or focal"
)


class PrivacySpec(Section):
    """Patient-level DP-SGD: in each step every patient is drawn with probability `sampling_rate`.

    Of a patient who is drawn at most `images_per_patient` images enter; the sum of their gradients is clipped
    to the L2 norm `clip_norm`. The sum over patients gets Gaussian noise of the standard deviation
    `noise_multiplier * clip_norm` and is divided by `patients_per_step`, a constant of the study, whatever
    the number of patients at the site. `delta` is that of the guarantee. With `test_scores = "released"`
    the closing trip's exact scores of test patients leave, who are not trained on; all others never do.
    """

    noise_multiplier: Annotated[float, Field(ge=0.2, le=1000)]
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    patients_per_step: Annotated[int, Field(ge=1, le=1_000_000)]
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    images_per_patient: Annotated[int, Field(ge=1, le=4096)] = 4
    delta: Annotated[float, Field(gt=0, le=1e-3)] = 1e-6
    test_scores: Literal["withheld", "released"] = "withheld"


def scores_may_leave(privacy: PrivacySpec | None, split: str) -> bool:
    """Whether scores of these patients, exact as they are, may leave a site."""
    return privacy is None or (split == "test" and privacy.test_scores == "released")


def mechanism_of(privacy: PrivacySpec | None, training: TrainingSpec | None) -> Mechanism | None:
    """What one round costs every patient of a site that trains in it; None without `[privacy]`."""
    if privacy is None or training is None or training.steps_per_round is None:
        return None
    return Mechanism(
        noise_multiplier=privacy.noise_multiplier,
        sampling_rate=privacy.sampling_rate,
        images_per_patient=privacy.images_per_patient,
        steps=training.steps_per_round,
    )


def history_of(privacy: PrivacySpec | None, training: TrainingSpec | None, *, rounds: int) -> History:
    """What so many rounds cost a patient, each of them trained once."""
    mechanism = mechanism_of(privacy, training)
    if mechanism is None or not rounds:
        return ()
    return (mechanism.model_copy(update={"steps": mechanism.steps * rounds}),)


def privacy_fault(
    privacy: PrivacySpec | None, training: TrainingSpec | None, *, kind: str, mixes: bool, compares: bool
) -> str | None:
    """Why a study cannot train privately, in words and with what to do; None if it can.

    Args:
        privacy: what is asked.
        training: how it trains, if it does.
        kind: the study's.
        mixes: whether batch norms of its model train.
        compares: whether it compares models (`[selection]`).
    """
    if privacy is None:
        return None
    if training is None or kind != "train":
        return "[privacy] protects the patients trained on, and this study trains on nobody; leave [privacy] out"
    if mixes:
        return (
            "[privacy] does not go with model.norm = batch, which mixes the patients of a batch;"
            " use group, or freeze the backbone"
        )
    if compares:
        return "[selection] compares or sends round what [privacy] withholds; leave [selection] out"
    return _training_fault(privacy, training)


def _training_fault(privacy: PrivacySpec, training: TrainingSpec) -> str | None:
    if not training.steps_per_round:
        return (
            "[privacy] needs training.steps_per_round of at least 1:"
            " neither a site's data nor its clock may decide how many steps it takes"
        )
    if unshown := _UNSHOWN.get(training.algorithm):
        return unshown
    if training.amp:
        return "[privacy] does not go with training.amp: gradients that overflow cannot be clipped; use amp = false"
    if training.sampling != "uniform" or training.mixup or training.loss == "weighted":
        return _UNEQUAL
    if privacy.images_per_patient > training.batch_size:
        return (
            "privacy.images_per_patient is larger than training.batch_size,"
            " and a patient is never split over batches; raise batch_size"
        )
    return None
