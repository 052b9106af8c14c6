"""What the worker counts of a site's images for a survey; the door withholds what it tells of few patients."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from client.imaging.examples import Examples, SiteData
from shared.study import Study
from shared.subgroups import Vendor
from shared.survey import AXES, NEGATIVE, PERCENTILES, SPLITS, WHY, Axis, Cell, Survey, SurveyedSplit

_VENDORS: tuple[Vendor, ...] = get_args(Vendor)
Word = TypeVar("Word", bound=str)
_LOOKED_AT, _ACROSS = 256, 64  # images, and pixels along the edge of each, of which the intensities are taken
_RANKS = np.linspace(0, 1, 1001)  # of a patient's pixels, so that each patient counts alike


def survey_of(data: SiteData, study: Study, *, smallest: int = 1) -> Survey:
    """Count a site's images as they would be used in a study; what is no count is of `smallest` patients or more."""
    parts = dict(zip(SPLITS, (data.train, data.validation, data.test), strict=True))
    measures = list(zip(*data.counts.measures, strict=True)) or [()] * 6
    axes = AXES if study.images.slices is not None else AXES[1:]
    return Survey(
        found=data.counts.found,
        used=data.counts.used,
        set_aside=_listed(data.counts.set_aside, WHY),
        splits={name: _split(part, study) for name, part in parts.items()},
        vendors=_listed(data.counts.vendors, _VENDORS),
        missing={
            name: sum(_without(part, number) for part in parts.values()) for number, name in enumerate(study.clinical)
        },
        intensity=_intensity(data.train, smallest=smallest),
        size_px=_by_axis(measures[:3], axes, smallest=smallest),
        spacing_mm=_by_axis(measures[3:], axes, smallest=smallest),
    )


def _listed(counts: Mapping[str, int], words: tuple[Word, ...]) -> dict[Word, Cell]:
    """The counts of a list's words; what is on no list counts under its word `other`."""
    listed: dict[Word, Cell] = {word: counts[word] for word in words if word in counts and word != "other"}
    rest = sum(counts.values()) - sum(cell or 0 for cell in listed.values())
    return listed | {word: rest for word in words if word == "other" and rest}


def _split(part: Examples, study: Study) -> SurveyedSplit:
    task = study.task
    classes: dict[str, Cell]
    if task.exclusive:
        classes = {name: _patients(part, part.labels == number) for number, name in enumerate(task.classes)}
    else:
        flags = part.labels.reshape(len(part), len(task.classes)) == 1
        classes = {name: _patients(part, flags[:, number]) for number, name in enumerate(task.classes)}
        classes[NEGATIVE] = _patients(part, ~flags.any(axis=1))
    return SurveyedSplit(patients=part.patient_count, classes=classes)


def _intensity(part: Examples, *, smallest: int) -> tuple[float, float, float] | None:
    """Percentiles 5, 50 and 95 of the pixels above black of some images, as many values of each patient.

    None if fewer than `smallest` patients were looked at that have such pixels.
    """
    count = part.patient_count
    patients = np.linspace(0, count - 1, min(count, max(_LOOKED_AT, smallest))).astype(int)
    each = max(1, _LOOKED_AT // max(count, 1))
    shades = [_above_black(part, np.flatnonzero(part.patients == patient), most=each) for patient in patients]
    told = [np.quantile(pixels, _RANKS) for pixels in shades if len(pixels)]
    if len(told) < max(smallest, 1):
        return None
    low, middle, high = (round(float(share), 2) for share in np.percentile(told, PERCENTILES) / 65535)
    return low, middle, high


def _by_axis(
    measures: Sequence[Sequence[float | None]], axes: Sequence[Axis], *, smallest: int
) -> dict[Axis, tuple[Any, Any, Any]]:
    """Percentiles 5, 50 and 95 along each axis of which anything is known; `measures` are of all `AXES`."""
    known = {axis: sorted(v for v in of if v is not None) for axis, of in zip(AXES, measures, strict=True)}
    found = {axis: [_told(known[axis], percent, smallest) for percent in PERCENTILES] for axis in axes if known[axis]}
    return {axis: (low, middle, high) for axis, (low, middle, high) in found.items()}


def _told(values: Sequence[float], percent: int, smallest: int) -> float | None:
    """The percentile of sorted values that is one of them, if so many are no more than it, and so many no less."""
    value = values[max(1, math.ceil(percent / 100 * len(values))) - 1]
    return value if min(bisect_right(values, value), len(values) - bisect_left(values, value)) >= smallest else None


def _above_black(part: Examples, own: NDArray[np.intp], *, most: int) -> NDArray[np.uint16]:
    """Some pixels of some of a patient's images, none of them black, for so are the borders."""
    step = max(1, part.images.shape[-1] // _ACROSS)
    chosen = own[np.linspace(0, len(own) - 1, min(len(own), most)).astype(int)]
    pixels = np.concatenate([part.images[index][..., ::step, ::step].ravel() for index in chosen])
    return pixels[pixels > 0]


def _patients(part: Examples, chosen: NDArray[np.bool_]) -> int:
    return len(np.unique(part.patients[chosen]))


def _without(part: Examples, column: int) -> int:
    """Patients of whom no image has a value."""
    return 0 if part.missing is None else part.patient_count - _patients(part, ~part.missing[:, column])
