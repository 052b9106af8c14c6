"""Codes of a journal in plain words, and figures as people read them; what is no code is shown as it was written."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from server.claim import AdmissionReason as Why
from server.records import ModelChosen, TrainingEnded
from server.rounds import Phase
from shared.errors import TEMPLATES
from shared.metrics import Merit
from shared.training import TrainingSpec

_MISSING = "\N{EN DASH}"
_ADMISSION = {
    Why.BAD_SIGNATURE: "The update was not signed by the site's own key.",
    Why.FOREIGN_EPOCH: "The update was made for an owner of the study that had been replaced.",
    Why.FOREIGN_ROUND: "The update belongs to another round or starts from another model.",
    Why.REPLAY: "The same update had counted before.",
    Why.NEGATIVE_COUNT: "The update claims a negative number of examples, patients or steps.",
    Why.OVERSIZE: "The update is absent or larger than agreed.",
    Why.DIGEST: "The bytes that arrived are not those that the site announced.",
    Why.MALFORMED: "The update cannot be read as tensors.",
    Why.MISSING_KEY: "The update lacks a tensor of the model.",
    Why.EXTRA_KEY: "The update holds a tensor that the model does not have.",
    Why.DTYPE: "A tensor of the update has another number type than the model's.",
    Why.SHAPE: "A tensor of the update has another shape than the model's.",
    Why.NOT_FINITE: "The update holds values that are not finite numbers.",
    Why.OUT_OF_RANGE: "The update claims more than the site declared, or holds values out of range.",
    Why.NORM: "The update is far larger than those of the last rounds.",
}
_CAUSES = {
    Phase.WAITING.value: "It was not connected.",
    Phase.ASKED.value: "It had not answered when the round closed.",
    Phase.READY.value: "Its work was done, but its turn to send had not come.",
    Phase.GRANTED.value: "Its update was still on its way when the round closed.",
    Phase.SPOOLED.value: "Its update had arrived, but was not examined before the round closed.",
    Phase.LOST.value: "The line was lost.",
    Phase.REMOVED.value: "It was taken off the roster.",
    "line_lost": "The line was lost.",
    "reopened": "It opened the study anew and had not answered when the round closed.",
    "opens the study anew": "It was opening the study anew when the round closed.",
}
_WORDS = _CAUSES | {code.value: text for code, text in TEMPLATES.items()} | {w.value: t for w, t in _ADMISSION.items()}


def plain(code: str) -> str:
    """A reason or cause as a sentence; a line of a site's policy is named."""
    if code.startswith("policy."):
        return f"The site's policy says no: {code}."
    return _WORDS.get(code) or f"{code[:1].upper()}{code[1:].rstrip('.')}."


METRICS: dict[str, str] = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "loss": "loss",
    "dice": "Dice",
    "ssim": "SSIM",
}


def merit_in_words(merit: Merit, *, classes: int) -> str:
    """The figure by which models are known; of several classes or structures it is a mean."""
    several = {"auroc": "macro AUROC", "dice": "mean Dice", "ssim": "mean SSIM"}
    return several[merit] if classes > 1 else METRICS[merit]


def by_name(merit: Merit) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Makes JSON of fields: what is called the merit here bears its name there (`dataclasses.asdict`)."""
    return lambda fields: {name.replace("merit", merit): value for name, value in fields}


def model_after(number: int) -> str:
    """A global model by the rounds behind it."""
    return f"the model of round {number}" if number else "the start model"


def why_ended(ended: TrainingEnded) -> str:
    """Why no further round was run."""
    if ended.cause == "rounds":
        return f"all {counted(ended.round, 'round')} are done"
    assert ended.best is not None
    best = f"that of round {ended.best}" if ended.best else "the start model"
    return f"stopped after round {ended.round}: no better model since {best}"


def why_chosen(chosen: ModelChosen) -> str:
    """Why this model is the final one."""
    metric, sites = METRICS[chosen.metric], counted(len(chosen.cohort), "site")
    if chosen.cause == "unscored":
        return "it is the last one, and no site told a figure of any on validation patients"
    if chosen.cause == "undefined" and chosen.how == "mean":
        return f"it is the last one: of {sites} not all release the statistics of which the {metric} is made"
    if chosen.cause == "undefined":
        return f"it is the last one, and the {metric} of the validation patients of {sites} is not defined"
    candidates = counted(len(chosen.candidates), "model")
    figure = f"its {metric} on the validation patients of {sites}"
    if chosen.how == "mean":
        figure = f"the {mean_over(len(chosen.cohort), metric)} on validation patients"
    return f"{figure} is {share(chosen.value)}, the best of {candidates}"


def mean_over(sites: int, metric: str) -> str:
    """What stands in the place of a pooled figure where not all sites release statistics."""
    return f"mean of the sites' own {metric} over {counted(sites, 'site')}"


def sites_in_order(sites: Iterable[str]) -> list[str]:
    """By name; sites that stand there by letter (no name holds a blank) with AA after Z."""
    return sorted(sites, key=lambda site: (len(site) if " " in site else 0, site))


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as ``1 site`` and ``4,708 patients``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def spans(numbers: Iterable[int]) -> str:
    """Whole numbers in order, runs drawn together: ``1, 3-5``, with an en dash."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("\N{EN DASH}".join(map(str, run)) for run in runs)


def size(number: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float | None) -> str:
    """Seconds, or minutes and hours from one minute on."""
    if seconds is None:
        return _MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 0.095 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def coarse(seconds: float) -> str:
    """A time that is known to two digits, in the unit that suits it; below a second it is not worth one."""
    if seconds < 1:
        return "less than 1 s"
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, math.inf)):
        if seconds / length < most:
            return f"{float(f'{seconds / length:.1e}'):g} {unit}"
    raise ValueError("a time is finite")


def share(value: float | None) -> str:
    """A figure between 0 and 1 to three decimals."""
    return _MISSING if value is None else f"{value:.3f}"


def learning(training: TrainingSpec) -> str:
    """What of loss, sampling, mixup and schedule is not as usual, each after a comma; nothing if all is."""
    loss = f", focal loss (gamma {training.focal_gamma:g})" if training.focal_gamma else ""
    return (
        f"{', weighted loss' if training.loss == 'weighted' else loss}"
        f"{', balanced classes' if training.sampling == 'class_balanced' else ''}"
        f"{f', mixup {training.mixup:g}' if training.mixup else ''}"
        f"{', cosine schedule' if training.schedule == 'cosine' else ''}"
    )
