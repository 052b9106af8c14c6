"""Lesions and nuclei counted: how many of the pieces of a structure a model's masks find, miss and invent.

A piece (instance) is a connected part of a mask; places that touch at a corner belong together. By these rules:

1. A piece of the model's and one of the truth are the same where they share half of what both cover or more
   (IoU >= 0.5). Each is matched with one at most, the best first. Any two matches that compete halve a piece
   exactly, so no other order finds more.
2. `instances_found` are the matched ones, `instances_missed` those of the truth alone, `instances_spurious` those of
   the model alone; of a patient they are sums over the images, at most a million each.
3. F1 is 2 found / (2 found + missed + spurious), over all patients' pieces, and over several structures their mean.
   A structure of which neither the masks nor the model show any piece has none, and is left out of the mean.

All else is `Segmentation`'s. Pieces are scipy's; it and torch are imported only to compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared.metrics import FIGURE_DECIMALS, Floats, Integers, MetricRule, Score, Statistics, rules_of
from shared.resampling import Figure
from shared.segmentation import Segmentation

if TYPE_CHECKING:
    from torch import Tensor

COUNTS = ("instances_found", "instances_missed", "instances_spurious")
LEAST_IOU = 0.5
_MOST = 1_000_000  # pieces of a patient


@dataclass(frozen=True)
class CountedSegmentation(Segmentation):
    """`Segmentation` with the three counts of `COUNTS` beside it, each with one value per structure."""

    @property
    def columns(self) -> int:
        """Those of `Segmentation`, and three counts of each structure."""
        return super().columns + len(COUNTS) * len(self.spec.classes)

    def measure(self, logits: Tensor, target: Tensor) -> Floats:
        """Dice, HD95, loss and counts of each image, (images, columns)."""
        called = self.called(logits)
        pairs = [(called == n, target == n) for n in range(1, len(self.spec.classes) + 1)]
        found = [[matched(*one) for one in zip(*(side.numpy() for side in pair), strict=True)] for pair in pairs]
        counts = np.array(found, np.float32).reshape(len(pairs), len(target), len(COUNTS))  # (structures, images, 3)
        return np.hstack([self._plain.measure(logits, target), *np.moveaxis(counts, 2, 0).transpose(0, 2, 1)])

    def by_patient(self, measured: Floats, targets: Integers, patients: Integers) -> tuple[Floats, Integers]:
        """As of `Segmentation`; counts are summed."""
        plain, counts = self._apart(measured)
        rows, present = self._plain.by_patient(plain, targets, patients)
        sums = np.zeros((len(rows), counts.shape[1]))
        np.add.at(sums, patients, counts)
        return np.hstack([rows, np.minimum(sums, _MOST)]).astype(np.float32), present

    def score(
        self, measured: Floats, targets: Integers, *, model_digest: str, split: Literal["validation", "test"]
    ) -> Score:
        """Score one row per patient."""
        plain, counts = self._apart(measured)
        score = self._plain.score(plain, targets, model_digest=model_digest, split=split)
        sums = np.rint(counts.astype(np.float64).sum(axis=0)).astype(np.int64).reshape(len(COUNTS), -1)
        pieces = {name: tuple(values.tolist()) for name, values in zip(COUNTS, sums, strict=True)}
        own = {name: round(value, FIGURE_DECIMALS) for name, value in self._f1(pieces).items() if name == "f1"}
        return score.model_copy(update={"statistics": score.statistics | pieces, "figures": score.figures | own})

    def rules(self) -> tuple[MetricRule, ...]:
        """Three statistics and a figure more."""
        bounds = {name: {"length": len(self.spec.classes), "per_patient": _MOST} for name in COUNTS}
        return (*self._plain.rules(), *rules_of(bounds, {"f1": 1}))

    def figures(self, statistics: Statistics) -> dict[str, float]:
        """Those of `Segmentation`, and F1 by rule 3, also of each of several structures."""
        return self._plain.figures(statistics) | (self._f1(statistics) if statistics else {})

    def f1(self, measured: Floats) -> Figure | None:
        """F1 by rule 3 of what was measured, as a function of the patients' weights; None without any piece."""
        _, counts = self._apart(measured)
        pieces = counts.astype(np.float64).reshape(len(counts), len(COUNTS), -1)  # (patients, 3, structures)
        return (lambda weights: _mean(_f1(np.tensordot(weights, pieces, axes=1)))) if pieces.any() else None

    @property
    def _plain(self) -> Segmentation:
        return Segmentation(self.spec, self.spacing_mm)

    def _apart(self, measured: Floats) -> tuple[Floats, Floats]:
        plain, counts = np.split(measured, [self._plain.columns], axis=1)
        return plain, counts

    def _f1(self, statistics: Statistics) -> dict[str, float]:
        f1 = _f1(np.array([statistics[name] for name in COUNTS], np.float64))
        if np.isnan(f1).all():
            return {}
        return {"f1": float(_mean(f1))} | self._of_each("f1", f1)


def matched(called: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> tuple[int, int, int]:
    """How many pieces are found, missed and spurious in (*size) bool masks of one structure in one image."""
    (one, ones), (other, others) = _pieces(called), _pieces(truth)
    both = (one > 0) & (other > 0)
    pairs, shared = np.unique(np.stack([one[both], other[both]]), axis=1, return_counts=True)
    sizes = np.bincount(one.ravel())[pairs[0]] + np.bincount(other.ravel())[pairs[1]]
    iou = shared / (sizes - shared)
    taken: tuple[set[int], set[int]] = (set(), set())
    for number in np.argsort(-iou, kind="stable")[: int((iou >= LEAST_IOU).sum())].tolist():
        mine, theirs = pairs[:, number].tolist()
        if mine not in taken[0] and theirs not in taken[1]:
            taken[0].add(mine)
            taken[1].add(theirs)
    found = len(taken[0])
    return found, others - found, ones - found


def _f1(pieces: Floats) -> Floats:
    """(..., structures) of (..., 3, structures) sums; NaN of a structure without any piece."""
    found, missed, spurious = np.moveaxis(pieces, -2, 0)
    either = 2 * found + missed + spurious
    return np.asarray(np.divide(2 * found, either, out=np.full(either.shape, np.nan), where=either > 0))


def _mean(f1: Floats) -> Floats:
    """Over the structures that have one; NaN if none has."""
    known = (~np.isnan(f1)).sum(axis=-1)
    return np.asarray(np.divide(np.nansum(f1, axis=-1), known, out=np.full(known.shape, np.nan), where=known > 0))


def _pieces(mask: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """The number of its piece at each place, 0 of none; and how many there are."""
    from scipy.ndimage import label

    numbers, count = label(mask, structure=np.ones((3,) * mask.ndim))
    return numbers, int(count)
