"""Operating points: at which logit a patient is called positive, and how good that is, in shares with intervals.

Pure, and of histograms: the cut is chosen on validation patients and told of test patients, who had no say in it. A
cut is an edge of the bins, so that it means the same on every histogram. Intervals are Wilson's (1927), which hold for
few patients and for shares near 0 and 1.
"""

import math
from typing import NamedTuple

import numpy as np

from shared.metrics import EDGES, Integers, Interval, confusion_at

_Z_95 = 1.959963984540054


class Performance(NamedTuple):
    """What a cut does to patients who have the class, and to those who have not; None where there are none."""

    sensitivity: Interval | None
    specificity: Interval | None


def cut_at_specificity(counts: Integers, specificity: float) -> float | None:
    """The lowest edge at which at least this share of the negatives stays below; None without negatives.

    Args:
        counts: (2, BINS) patients by truth and logit.
        specificity: above 0 and at most 1.
    """
    negatives = int(counts[0].sum())
    if not negatives:
        return None
    below = np.concatenate([[0], np.cumsum(counts[0])])
    return float(EDGES[int(np.argmax(below >= math.ceil(specificity * negatives - 1e-9)))])


def performance_at(counts: Integers, cut: float) -> Performance:
    """Sensitivity and specificity of a (2, BINS) histogram at a cut, with their 95 % intervals."""
    (true_negative, false_positive), (false_negative, true_positive) = confusion_at(counts, cut).tolist()
    return Performance(
        wilson(true_positive, true_positive + false_negative), wilson(true_negative, true_negative + false_positive)
    )


def wilson(part: int, whole: int) -> Interval | None:
    """A share with its 95 % score interval; None of nothing."""
    if not whole:
        return None
    share, z2 = part / whole, _Z_95**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z_95 * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2)) / (1 + z2 / whole)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))
