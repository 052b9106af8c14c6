"""What a study could show with the patients that the sites have, before any of it is run.

Decides how wide the 95 % interval of an AUROC will be with so many test patients of a class and so many others:
Hanley and McNeil, Radiology 143 (1982), 29-36, formula 1, whose Q1 and Q2 are those of negative exponential scores.
A cell that a site withholds is not counted, so that an interval is at most as wide as said. The AUROC itself is an
assumption.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shared.survey import Survey

ASSUMED_AUROC = 0.85
_Z_95 = 1.959964


@dataclass(frozen=True)
class Expected:
    """Of one class: test patients who have it and who have not, and how wide the interval will be, if it can be."""

    name: str
    positive: int
    negative: int
    width: float | None


def hanley_mcneil_error(auroc: float, *, positive: int, negative: int) -> float | None:
    """Standard error of an AUROC with so many patients on both sides; None without one on each."""
    if not positive or not negative:
        return None
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (positive - 1) * (q1 - auroc**2) + (negative - 1) * (q2 - auroc**2)
    return math.sqrt(spread / (positive * negative))


def expected(
    surveys: Mapping[str, Survey], classes: tuple[str, ...], *, auroc: float = ASSUMED_AUROC
) -> list[Expected]:
    """For each class of the study, what the test patients of all sites together could show."""
    return [_expected(surveys, name, auroc) for name in classes]


def _expected(surveys: Mapping[str, Survey], name: str, auroc: float) -> Expected:
    splits = [survey.splits["test"] for survey in surveys.values() if "test" in survey.splits]
    sides = [(split.classes.get(name), split.patients) for split in splits]
    known = [(positive, patients - positive) for positive, patients in sides if positive is not None and patients]
    positive, negative = (sum(side) for side in zip(*known, strict=True)) if known else (0, 0)
    error = hanley_mcneil_error(auroc, positive=positive, negative=negative)
    width = None if error is None else min(1.0, auroc + _Z_95 * error) - max(0.0, auroc - _Z_95 * error)
    return Expected(name, positive, negative, width)
