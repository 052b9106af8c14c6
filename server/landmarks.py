"""The scale that sites' images could share, from the percentiles of pixels that they released.

Every site reads it, for it stands in the study's file. It is their mean, rounded, for a median would be one site's own
percentile. From the mean of two each could work out the other's, so it is made of three sites' or more.
"""

from collections.abc import Iterable
from statistics import fmean

from shared.images import ImageSpec
from shared.survey import Survey

FEWEST_SITES = 3


def has_scale(images: ImageSpec) -> bool:
    """Whether a study's images have one scale already, or none that landmarks could make: in colour."""
    return images.landmarks is not None or images.hu is not None or images.channels != 1


def landmarks_of(surveys: Iterable[Survey], images: ImageSpec) -> tuple[float, float, float] | None:
    """The mean of the sites' percentiles, for `images.landmarks`.

    Args:
        surveys: of the sites.
        images: what the study asks for.

    Returns:
        None if the study `has_scale`, if fewer than `FEWEST_SITES` told, or if they do not ascend.
    """
    told = [survey.intensity for survey in surveys if survey.intensity is not None]
    if has_scale(images) or len(told) < FEWEST_SITES:
        return None
    low, middle, high = (round(fmean(places), 2) for places in zip(*told, strict=True))
    return (low, middle, high) if low < middle < high else None
