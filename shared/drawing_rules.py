"""Which keys of a study go with one that learns to draw; the keys themselves are `shared/study.py`'s.

A model that draws may have memorised an image that it was trained on, and gives it back to whoever holds the model.
Only training under `[privacy]` bounds that, and only with enough noise: where all rounds cost a patient an epsilon
above `BOUNDING_EPSILON`, a study is private in name alone. A study without the bound says in its own words that it
accepts this, every site is told so before it agrees (`shared/task_words.py`), and its policy permits it or not.
"""

from typing import Protocol

from shared.images import ImageSpec
from shared.privacy import epsilon_of
from shared.private_training import PrivacySpec, history_of
from shared.training import TrainingSpec

_SIDES = 8  # an image's side is a multiple of it (`shared/networks/vae.py`)
BOUNDING_EPSILON = 10.0  # the most that all rounds may cost a patient where [privacy] bounds what is memorised
_MOST_DELTA = 1e-6  # at which that is reckoned, if a study's own is no smaller


class _Drawing(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def accept_memorisation(self) -> bool: ...


def drawing_fault(task: _Drawing, images: ImageSpec, *, clinical: bool, training: TrainingSpec | None) -> str | None:
    """Why a study cannot learn to draw such images, in words; None if it can, or does not."""
    if task.kind != "generation":
        return None
    if images.slices is not None or images.size_px % _SIDES:
        return f"generation draws single images, without images.slices and with an images.size_px of {_SIDES} times n"
    if clinical:
        return "[clinical] goes with classification: a network that draws takes images alone"
    if training is not None and training.algorithm == "fedbn":
        return "generation does not go with fedbn: without its norm layers, which stay at a site, nothing can be drawn"
    return None


def memorisation_fault(
    task: _Drawing, privacy: PrivacySpec | None, training: TrainingSpec | None, *, trains: bool, rounds: int
) -> str | None:
    """Why a study may not train what could give images back, in words; None if it may."""
    drawing = task.kind == "generation" and trains
    memorises = drawing and not _bounds(privacy, training, rounds=rounds)
    if task.accept_memorisation and not memorises:
        return (
            "task.accept_memorisation is for training a generation without [privacy], or with an epsilon"
            f" above {BOUNDING_EPSILON:g}; leave it out"
        )
    if memorises and not task.accept_memorisation:
        return (
            "a model that draws can memorise images it was trained on and give them back: train with a [privacy] whose"
            f" epsilon is at most {BOUNDING_EPSILON:g}, or say task.accept_memorisation = true,"
            " which every site is told"
        )
    return None


def _bounds(privacy: PrivacySpec | None, training: TrainingSpec | None, *, rounds: int) -> bool:
    """Whether the noise of all rounds bounds what a model holds of a patient."""
    if privacy is None:
        return False
    history = history_of(privacy, training, rounds=rounds)
    return epsilon_of(history, delta=min(privacy.delta, _MOST_DELTA)) <= BOUNDING_EPSILON
