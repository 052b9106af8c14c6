"""Which keys of a study go with one that learns to draw; the keys themselves are `shared/study.py`'s.

A model that draws may have memorised an image that it was trained on, and gives it back to whoever holds the model.
Only training under `[privacy]` bounds that. So a study without it says in its own words that it accepts this, and every
site is told so before it agrees (`shared/task_words.py`).
"""

from typing import Protocol

from shared.images import ImageSpec
from shared.training import TrainingSpec

_SIDES = 8  # an image's side is a multiple of it (`shared/networks/vae.py`)


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


def memorisation_fault(task: _Drawing, *, private: bool, trains: bool) -> str | None:
    """Why a study may not train what could give images back, in words; None if it may."""
    drawing = task.kind == "generation" and trains
    if task.accept_memorisation and (private or not drawing):
        return "task.accept_memorisation is for generation without [privacy]; leave it out"
    if drawing and not private and not task.accept_memorisation:
        return (
            "a model that draws can memorise images it was trained on and give them back:"
            " train with [privacy], or say task.accept_memorisation = true, which every site is told"
        )
    return None
