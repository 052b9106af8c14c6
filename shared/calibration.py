"""Calibration: from a model's logit to a probability that can be taken at its word, and how far it can.

Pure, and of counts alone: the histograms of scores that sites release add up, so that the scaling is fitted on the
validation patients of all of them and no patient's score is needed. The scaling is Platt's (1999), a slope and an
offset per class, fitted by maximum likelihood with his smoothed targets; scores stand at the middle of their bin.
For multiclass, each class is scaled against the rest and the shares are made to add up to 1 (Zadrozny and Elkan, KDD
2002). Whether an outcome is rare or the patients are others than those, no scaling knows.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from shared.metrics import EDGES, Floats, Integers
from shared.section import Section

FEWEST = 10  # patients of a class, and of the rest, below which a scaling is not worth fitting
MIDDLES = (EDGES[1:] + EDGES[:-1]) / 2  # (BINS,) logit units
_STEPS, _HALVINGS, _SETTLED = 100, 40, 1e-10


class Scaling(Section):
    """One class: a logit becomes `slope` times itself plus `offset`, which is the logit of a probability."""

    slope: Annotated[float, Field(gt=0, le=1e6)]
    offset: Annotated[float, Field(ge=-1e6, le=1e6)]


class Agreement(NamedTuple):
    """Probabilities against what happened, of one class.

    `slope` and `offset` are of the fit of the outcome to the logit of the probability: 1 and 0 if it can be taken at
    its word. `error` is the mean distance of probability and share in ten equal bins, weighed by patients (ECE).
    """

    slope: float | None
    offset: float | None
    error: float


class Bin(NamedTuple):
    """Patients whose probability lay together: how many, their mean probability, and the share that had the class."""

    patients: int
    probability: float
    share: float


def fit_scaling(counts: Integers) -> Scaling | None:
    """Platt's scaling for a (2, BINS) histogram; None with too few patients of a side, or if no slope above 0 fits."""
    if counts.sum(axis=1).min() < FEWEST:
        return None
    negatives, positives = (int(n) for n in counts.sum(axis=1))
    fitted = _fit(MIDDLES, counts, low=1 / (negatives + 2), high=(positives + 1) / (positives + 2))
    return None if fitted is None else Scaling(slope=fitted[0], offset=fitted[1])


def probabilities(margins: Floats, scalings: Sequence[Scaling] | None, *, exclusive: bool) -> Floats:
    """(n, classes) one-vs-rest logits to probabilities of the same shape.

    Args:
        margins: the logit of each class against the rest.
        scalings: one per class; None leaves the logits as they are.
        exclusive: exactly one class is true, so that the probabilities of a patient add up to 1.
    """
    if scalings is not None:
        margins = margins * np.array([s.slope for s in scalings]) + np.array([s.offset for s in scalings])
    shares = _sigmoid(margins)
    return shares / shares.sum(axis=1, keepdims=True) if exclusive else shares


def agreement(counts: Integers, scaling: Scaling | None) -> Agreement:
    """How a (2, BINS) histogram of patients agrees with their probabilities, as scaled."""
    logits = scaled(scaling)
    enough = counts.sum(axis=1).min() >= FEWEST
    fitted = _fit(logits, counts, low=0.0, high=1.0) if enough else None
    bins = reliability(counts, scaling, fewest=1)
    distance = sum(b.patients * abs(b.probability - b.share) for b in bins)
    slope, offset = fitted or (None, None)
    return Agreement(slope, offset, distance / max(1, int(counts.sum())))


def reliability(counts: Integers, scaling: Scaling | None, *, fewest: int) -> tuple[Bin, ...]:
    """Ten bins of equal width in probability; one with fewer patients than `fewest` joins the next one.

    Args:
        counts: (2, BINS) patients by truth and logit.
        scaling: of the logits.
        fewest: patients of a bin; fewer in all give none.
    """
    shares = _sigmoid(scaled(scaling))
    tenth = np.minimum((shares * 10).astype(int), 9)
    patients = counts.sum(axis=0)
    columns = (patients, patients * shares, counts[1])
    tens = [np.array([column[tenth == t].sum() for column in columns], np.float64) for t in range(10)]
    return tuple(Bin(int(n), float(p / n), float(k / n)) for n, p, k in _joined(tens, fewest))


def scaled(scaling: Scaling | None) -> Floats:
    """The logits of the bins' middles, (BINS,), as scaled."""
    return MIDDLES if scaling is None else MIDDLES * scaling.slope + scaling.offset


def _joined(tens: Sequence[Floats], fewest: int) -> list[Floats]:
    joined: list[Floats] = []
    waiting: Floats = np.zeros(3)
    for ten in tens:
        waiting = waiting + ten
        if waiting[0] >= max(1, fewest):
            joined.append(waiting)
            waiting = np.zeros(3)
    if joined:
        joined[-1] = joined[-1] + waiting
    return joined


def _fit(logits: Floats, counts: Integers, *, low: float, high: float) -> tuple[float, float] | None:
    """Slope above 0 and offset of the likeliest logistic curve, by Newton's steps, each halved until it leads down."""
    weights = counts.sum(axis=0)
    wanted = counts[1] * high + counts[0] * low  # (BINS,) patients, as smoothed
    design = np.stack([logits, np.ones_like(logits)])  # (2, BINS)

    def loss_at(place: Floats) -> float:
        curve = place @ design
        return float((weights * np.logaddexp(0.0, curve) - wanted * curve).sum())

    at: Floats = np.array([1.0, 0.0])
    loss = loss_at(at)
    for _ in range(_STEPS):
        shares, before = _sigmoid(at @ design), loss
        slopes = design @ (weights * shares - wanted)
        bends = (design * (weights * shares * (1 - shares))) @ design.T + 1e-9 * np.eye(2)
        at, loss = _ahead(loss_at, at, np.linalg.solve(bends, slopes), loss)
        if before - loss < _SETTLED * max(1.0, loss):
            break
    return (float(at[0]), float(at[1])) if 0 < at[0] <= 1e6 and abs(at[1]) <= 1e6 else None


def _ahead(loss_at: Callable[[Floats], float], at: Floats, step: Floats, loss: float) -> tuple[Floats, float]:
    """Where the step leads, or as much of it as makes the loss no more, and the loss there."""
    for halving in range(_HALVINGS):
        there = at - step / 2**halving
        if (found := loss_at(there)) <= loss:
            return there, found
    return at, loss


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
