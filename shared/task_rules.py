"""Which keys of a study go with which task; the keys themselves are `shared/study.py`'s."""

from typing import Any

from shared.images import ImageSpec
from shared.networks.spec import SERIES
from shared.training import TrainingSpec

_MASKING = {"unet": 16, "segresnet": 4}  # networks that give an answer at each place, and what divides their edges
_METRICS = {"segmentation": ("dice", "loss"), "generation": ("ssim", "loss")}  # the usual one first


def mode_fault(kind: str, mode: str, classes: int) -> str | None:
    """Why a task of this kind and mode does not go with so many classes, in words; None if it does."""
    if kind == "generation" and (mode != "binary" or classes != 1):
        return "generation names one class, what its images show, and no mode"
    if mode == "binary" and classes != 1:
        return "a binary task names exactly one class, the positive one"
    if kind == "segmentation":
        if mode == "multilabel":
            return "segmentation is binary or multiclass: a mask has one value at each place, so that nothing overlaps"
        return "one structure is a binary task" if mode == "multiclass" and classes < 2 else None
    if mode == "multiclass" and classes < 3:
        return "a multiclass task names at least three classes; use binary for two"
    return None


def network_fault(kind: str, name: str) -> str | None:
    """Why a network cannot do a task, in words; None if it can."""
    masking = name in _MASKING
    if kind == "segmentation" and not masking:
        return f"segmentation goes with model.name = {' or '.join(_MASKING)}: {name} gives one answer for a whole image"
    if kind != "segmentation" and masking:
        return f"model.name = {name} goes with task.kind = segmentation"
    if (kind == "generation") != (name == "vae"):
        return f"generation goes with model.name = vae, and only with it: {name} is another network"
    return None


def series_fault(name: str, images: ImageSpec) -> str | None:
    """Why a network does not take such images, in words; None if it does."""
    if name in SERIES and images.slices is None:
        return f"model.name = {name} reads a volume slice by slice: it goes with images.slices"
    return None


def patch_fault(kind: str, name: str, images: ImageSpec) -> str | None:
    """Why a network cannot see such images in patches, in words; None if it can, or sees them whole."""
    if images.patch is None:
        return None
    if kind != "segmentation":
        return f"images.patch goes with task.kind = segmentation: {kind} is about an image as a whole"
    if name in _MASKING and any(edge % _MASKING[name] for edge in images.patch.grid):
        return f"{name} takes multiples of {_MASKING[name]} for images.patch.size_px and images.patch.slices"
    return None


def inputs_fault(kind: str, *, clinical: bool) -> str | None:
    """Why a task cannot be done with clinical columns beside the images, in words; None if it can."""
    if kind == "segmentation" and clinical:
        return "[clinical] goes with classification: a network that finds masks takes images alone"
    return None


def training_fault(kind: str, training: TrainingSpec | None, *, clinical: bool) -> str | None:
    """Why a task cannot be trained so, in words; None if it can."""
    if training is None:
        return None
    if training.mixup and clinical:
        return "training.mixup mixes images, and a mean of two patients' [clinical] values is nobody's; use mixup = 0"
    if kind == "classification":
        return None
    for key, usual in (("loss", "cross_entropy"), ("sampling", "uniform"), ("mixup", 0.0)):
        if getattr(training, key) != usual:
            return f"training.{key} goes with classification: {kind} has no classes of images, and a loss of its own"
    return None


def metric_fault(kind: str, metric: str) -> str | None:
    """Why models of a task cannot be compared by a figure, in words; None if they can."""
    known = _METRICS.get(kind, ("auroc", "balanced_accuracy", "loss"))
    return None if metric in known else f"selection.metric of {kind} is one of {', '.join(known)}, and not {metric}"


def with_metric(given: Any) -> Any:
    """A study as it is given, its models compared by Dice if they segment, or by likeness if they draw, unless it
    says so."""
    task, selection = (given.get("task"), given.get("selection", {})) if isinstance(given, dict) else (None, None)
    kind = task.get("kind") if isinstance(task, dict) else getattr(task, "kind", None)
    if not isinstance(kind, str) or kind not in _METRICS or not isinstance(selection, dict):
        return given
    return given | {"selection": {"metric": _METRICS[kind][0]} | selection}
