"""Segmentation: which places of an image belong to a structure, and how well a model's masks agree.

Measured is each image, by these rules for each structure:

1. Neither the mask nor the model shows it: there is nothing to measure. The image is left out, and a patient of
   whom every image is left out is counted as `excluded`.
2. Only one of the two shows it: the Dice coefficient is 0 and the Hausdorff distance the image's diagonal.
3. Else Dice, 2 |A and B| / (|A| + |B|), and the 95th percentile of the distances from each surface to the other,
   the larger of the two ways (HD95), as a share of the diagonal: images come in many sizes, and are all resized.
   Where a study of volumes says how far its voxels lie apart, distances and diagonal are in mm.

A patient has the mean over the images that are measured, and a federation the mean over patients. Distances are
MONAI's; it and torch are imported only to compute.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared import metrics
from shared.metrics import Floats, Integers, Merit, MetricRule, Score, Statistics, Thresholds
from shared.study import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

_MILLION = 1_000_000
_LOSS_LIMIT = metrics.LOGIT_LIMIT + 2  # nats of the worst logit, and a Dice loss of 1


@dataclass(frozen=True)
class Segmentation:
    """One structure, or several that exclude each other, in the order of the masks' values 1, 2, ...; 0 is neither.

    Masks are (images, *size) integers. One structure has one logit, several have one each after that of 0.
    `spacing_mm` is that of the study's voxels: from right to left, front to back and feet to head.
    Statistics, each with one value per structure: `measured` and `excluded` patients, `dice_millionths` and
    `hd95_millionths` sums over those measured, `dice_square_millionths` and `hd95_square_millionths` of the squares;
    and `loss_millionths` (1,).
    """

    spec: TaskSpec
    spacing_mm: tuple[float, float, float] | None = None

    @property
    def merit(self) -> Merit:
        """The mean Dice coefficient."""
        return "dice"

    @property
    def outputs(self) -> int:
        """Logits at each place."""
        return self.spec.outputs

    @property
    def columns(self) -> int:
        """Dice and HD95 of each structure, NaN by rule 1, and the loss."""
        return 2 * len(self.spec.classes) + 1

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Soft Dice loss plus cross-entropy in nats: (batch, outputs, *size) logits, (batch, *size) int64 masks."""
        from monai.losses import DiceCELoss
        from torch import arange

        if self.spec.mode == "binary":
            return DiceCELoss(sigmoid=True)(logits, (target == 1)[:, None].to(logits.dtype))  # type: ignore[no-any-return]
        classes = arange(self.outputs, device=target.device).view(-1, *[1] * (target.dim() - 1))
        truth = (target[:, None] == classes).to(logits.dtype)
        return DiceCELoss(softmax=True, include_background=False)(logits, truth)  # type: ignore[no-any-return]

    def measure(self, logits: Tensor, target: Tensor) -> Floats:
        """Dice, HD95 and loss of each image, (images, columns)."""
        logits = _bounded(logits)
        losses = [float(self.loss(one[None], mask[None])) for one, mask in zip(logits, target, strict=True)]
        called = self.called(logits)
        pairs = [(called == n, target == n) for n in range(1, len(self.spec.classes) + 1)]
        dice, distances = [_dice(*pair) for pair in pairs], [_distances(*pair, self._edges(target)) for pair in pairs]
        return np.stack([*dice, *distances, np.array(losses)], axis=1).astype(np.float32)

    def called(self, logits: Tensor) -> Tensor:
        """The masks that logits stand for, (images, *size) int64."""
        logits = _bounded(logits)
        return (logits[:, 0] >= 0).long() if self.spec.mode == "binary" else logits.argmax(dim=1)

    def by_patient(self, measured: Floats, targets: Integers, patients: Integers) -> tuple[Floats, Integers]:
        """Means over each patient's images that are measured; a structure counts as present if any image shows it.

        Args:
            measured: (images, columns).
            targets: (images, structures) of {0, 1}.
            patients: (images,) dense index of the patient, each of 0..patients-1 at least once.

        Returns:
            (patients, columns) float32 and (patients, structures) int64.
        """
        number = int(patients.max()) + 1 if len(patients) else 0
        sums, known = np.zeros((number, self.columns)), np.zeros((number, self.columns), np.int64)
        np.add.at(sums, patients, np.nan_to_num(measured))
        np.add.at(known, patients, ~np.isnan(measured))
        present = np.zeros((number, *targets.shape[1:]), np.int64)
        np.maximum.at(present, patients, targets)
        means = np.divide(sums, known, out=np.full(sums.shape, np.nan), where=known > 0)
        return means.astype(np.float32), present

    def dice(self, measured: Floats) -> Floats:
        """The (n, structures) Dice coefficients among what was measured, NaN by rule 1."""
        return np.asarray(measured[:, : len(self.spec.classes)])

    def score(
        self, measured: Floats, targets: Integers, *, model_digest: str, split: Literal["validation", "test"]
    ) -> Score:
        """Score one row per patient."""
        rows = np.asarray(measured, np.float64)
        dice, distances, losses = np.split(rows, [len(self.spec.classes), self.columns - 1], axis=1)
        statistics = {
            "measured": (~np.isnan(dice)).sum(axis=0),
            "excluded": np.isnan(dice).sum(axis=0),
            "dice_millionths": _millionths(dice),
            "dice_square_millionths": _millionths(dice**2),
            "hd95_millionths": _millionths(distances),
            "hd95_square_millionths": _millionths(distances**2),
            "loss_millionths": _millionths(losses),
        }
        figures = self.figures(metrics.counts_of(statistics))
        own = {name: figures.get(name) for name in (*metrics.coarse_figures(self.merit), "hd95", "loss")}
        return metrics.score_of(statistics, own, patients=len(rows), model_digest=model_digest, split=split)

    def rules(self) -> tuple[MetricRule, ...]:
        """Seven statistics and five figures; the patients measured are those whom a figure is about."""
        n = len(self.spec.classes)
        bounds: dict[str, dict[str, Any]] = {
            "measured": {"length": n, "per_patient": 1, "row": 1},
            "excluded": {"length": n, "per_patient": 1},
            "dice_millionths": {"length": n, "per_patient": _MILLION},
            "dice_square_millionths": {"length": n, "per_patient": _MILLION},
            "hd95_millionths": {"length": n, "per_patient": _MILLION},
            "hd95_square_millionths": {"length": n, "per_patient": _MILLION},
            "loss_millionths": {"length": 1, "per_patient": _LOSS_LIMIT * _MILLION},
        }
        highs = dict.fromkeys((*metrics.coarse_figures(self.merit), "hd95"), 1.0) | {"loss": _LOSS_LIMIT}
        return metrics.rules_of(bounds, highs)

    def figures(self, statistics: Statistics) -> dict[str, float]:
        """Mean Dice (over structures, too) with standard error and 95 % interval, HD95 in diagonals, and loss.

        A structure that is measured in no patient has no figure and no part in a mean; `unmeasured` counts such ones.
        The error of a mean over structures takes them as fully correlated, which can only widen it. `dice_fewest`
        is how many patients are measured, fewest of the others; `excluded` how many are not, most of all.
        """
        if not statistics:
            return {}
        read = {name: np.array(values, np.float64) for name, values in statistics.items()}
        measured, patients = read["measured"], int(read["measured"][0] + read["excluded"][0])
        known = measured > 0
        figures = {"excluded": float(read["excluded"].max()), "unmeasured": float((~known).sum())}
        if patients:
            figures["loss"] = float(read["loss_millionths"][0]) / (_MILLION * patients)
        if not known.any():
            return figures
        hd95 = _means(read["hd95_millionths"], measured)
        return figures | self.agreement(statistics) | {"hd95": float(np.nanmean(hd95))} | self._of_each("hd95", hd95)

    def agreement(self, statistics: Statistics) -> dict[str, float]:
        """Of `figures` those of Dice, which need no more than what is told of a subgroup (`shared/subgroups.py`)."""
        names = ("measured", "dice_millionths", "dice_square_millionths")
        measured, *sums = (np.array(statistics[name], np.float64) for name in names)
        if not (known := measured > 0).any():
            return {}
        dice, squares = (_means(each, measured) for each in sums)
        figures = {"dice": float(np.nanmean(dice))} | self._of_each("dice", dice)
        if (fewest := measured[known].min()) > 1:
            error = float(metrics.standard_error(dice[known], squares[known], measured[known]).mean())
            figures |= metrics.surety(self.merit, figures["dice"], error, fewest=float(fewest))
        return figures

    def thresholds(self, statistics: Statistics) -> Thresholds | None:
        """None: a mask is where a structure is likelier than not."""
        return None

    def figures_at(self, statistics: Statistics, thresholds: Thresholds) -> dict[str, float]:
        """None."""
        return {}

    def _edges(self, target: Tensor) -> tuple[float, ...]:
        """From place to place along each axis of (images, *size) masks: slices, rows, columns."""
        edges = self.spacing_mm or (1.0,) * (target.dim() - 1)
        return tuple(float(edge) for edge in reversed(edges))  # MONAI takes no mixture of types

    def _of_each(self, name: str, values: Floats) -> dict[str, float]:
        classes = self.spec.classes if len(self.spec.classes) > 1 else ()
        return {f"{name}.{each}": float(v) for each, v in zip(classes, values, strict=False) if not math.isnan(v)}


def _bounded(logits: Tensor) -> Tensor:
    limit = metrics.LOGIT_LIMIT  # a finite model may still overflow to inf or nan
    return logits.nan_to_num(nan=0.0, posinf=limit, neginf=-limit).clamp(-limit, limit)


def _dice(called: Tensor, truth: Tensor) -> Floats:
    """Rules 1 to 3 for (images, *size) bool masks: (images,), NaN by rule 1."""
    both, one, other = (mask.flatten(1).sum(1).numpy() for mask in (called & truth, called, truth))
    sizes = one + other
    return np.asarray(np.divide(2.0 * both, sizes, out=np.full(len(both), np.nan), where=sizes > 0))


def _distances(called: Tensor, truth: Tensor, edges: tuple[float, ...]) -> Floats:
    """The same for HD95 as a share of the diagonal."""
    from monai.metrics import compute_hausdorff_distance

    shown = np.stack([called.flatten(1).any(1).numpy(), truth.flatten(1).any(1).numpy()])
    found = np.where(shown.any(axis=0), 1.0, np.nan)
    if len(both := np.flatnonzero(shown.all(axis=0))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it gives itself
            apart = compute_hausdorff_distance(
                called[both, None], truth[both, None], include_background=True, percentile=95, spacing=edges
            )
        diagonal = math.hypot(*(count * edge for count, edge in zip(called.shape[1:], edges, strict=True)))
        found[both] = np.minimum(apart[:, 0].numpy() / diagonal, 1.0)
    return found


def _means(millionths: Floats, patients: Floats) -> Floats:
    """By structure, NaN of one that no patient is measured in."""
    return np.asarray(
        np.divide(millionths / _MILLION, patients, out=np.full(len(patients), np.nan), where=patients > 0)
    )


def _millionths(values: Floats) -> Floats:
    return np.asarray(np.rint(np.nansum(values, axis=0) * _MILLION))
