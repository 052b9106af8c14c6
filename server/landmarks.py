"""The scale that sites' images could share, from the percentiles of pixels that they released."""

from collections.abc import Iterable
from statistics import median

from shared.images import ImageSpec
from shared.survey import Survey


def landmarks_of(surveys: Iterable[Survey], images: ImageSpec) -> tuple[float, float, float] | None:
    """The median of the sites' percentiles, of two sites their mean; for `images.landmarks`.

    Args:
        surveys: of the sites.
        images: what the study asks for.

    Returns:
        None if the study has a scale already or is in colour, if fewer than two sites told, or if they do not ascend.
    """
    told = [survey.intensity for survey in surveys if survey.intensity is not None]
    if images.landmarks is not None or images.hu is not None or images.channels != 1 or len(told) < 2:
        return None
    low, middle, high = (round(median(places), 2) for places in zip(*told, strict=True))
    return (low, middle, high) if low < middle < high else None
