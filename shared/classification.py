"""Classification: patients by their images, and what a model's logits say about them.

Torch is imported only to compute a loss. What a task is to the rest, `shared/tasks.py` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared import metrics
from shared.metrics import BINS, Floats, Integers, Mask, Merit, MetricRule, Score, Statistics, Thresholds
from shared.study import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

_MILLION = 1_000_000


@dataclass(frozen=True)
class Classification:
    """Binary, multiclass or multilabel classification of patients by their images.

    A patient's logits are the mean over the patient's images. One-vs-rest logits are taken for
    multiclass: the log odds of each class under the softmax. Statistics: `histogram` (outputs, 2,
    BINS) patients by truth and logit; `confusion`, (classes, classes) for multiclass, else
    (outputs, 2, 2), by truth and call at probability 0.5 or the likeliest class;
    `brier_millionths` (outputs,) sums of squared errors; `loss_millionths` (1,) sum of nats.
    """

    spec: TaskSpec

    @property
    def merit(self) -> Merit:
        """The area under the ROC curve, of several classes their mean."""
        return "auroc"

    @property
    def outputs(self) -> int:
        """One logit per class named."""
        return self.spec.outputs

    @property
    def columns(self) -> int:
        """An image's logits."""
        return self.outputs

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats: (batch, outputs) float logits, int64 targets as in `Examples.labels`."""
        from torch.nn import functional

        if self.spec.mode == "multiclass":
            return functional.cross_entropy(logits, target)
        return functional.binary_cross_entropy_with_logits(logits, target.reshape(logits.shape).to(logits.dtype))

    def measure(self, logits: Tensor, target: Tensor) -> Floats:
        """The logits as they are, (images, outputs); the target is asked for patient by patient."""
        return np.asarray(logits.numpy(), np.float32)

    def by_patient(self, logits: Floats, targets: Integers, patients: Integers) -> tuple[Floats, Integers]:
        """Mean logits and largest target over each patient's images.

        Args:
            logits: (images, outputs).
            targets: (images,) or (images, outputs).
            patients: (images,) dense index of the patient, each of 0..patients-1 at least once.

        Returns:
            (patients, outputs) float32 and (patients,) or (patients, outputs) int64.
        """
        images = np.bincount(patients)
        sums = np.zeros((len(images), self.outputs))
        np.add.at(sums, patients, logits)
        largest = np.zeros((len(images), *targets.shape[1:]), np.int64)
        np.maximum.at(largest, patients, targets)
        return (sums / images[:, None]).astype(np.float32), largest

    def score(
        self, logits: Floats, targets: Integers, *, model_digest: str, split: Literal["validation", "test"]
    ) -> Score:
        """Score (patients, outputs) logits against the patients' targets."""
        margins, truth = self._margins(logits), self._truth(targets)
        confusion = self._confusion(margins, truth)
        losses = self._losses(margins, truth)
        statistics = {
            "histogram": np.stack([metrics.histogram(m, t) for m, t in zip(margins.T, truth.T, strict=True)]),
            "confusion": confusion,
            "brier_millionths": np.rint(((_probability(margins) - truth) ** 2).sum(axis=0) * _MILLION),
            "loss_millionths": np.rint(losses.sum(keepdims=True) * _MILLION),
        }
        pooled = self.figures(metrics.counts_of(statistics))
        areas = [metrics.auroc_exact(m, t) for m, t in zip(margins.T, truth.T, strict=True)]
        figures = {
            "auroc": _mean(areas),
            "accuracy": _mean([metrics.accuracy(c) for c in confusion]),
            "balanced_accuracy": _mean([metrics.balanced_accuracy(c) for c in confusion]),
            "loss": float(losses.mean()) if len(losses) else None,
        } | {name: pooled.get(name) for name in ("auroc_low", "auroc_high")}
        return metrics.score_of(statistics, figures, patients=len(logits), model_digest=model_digest, split=split)

    def one_vs_rest(self, logits: Floats, targets: Integers) -> tuple[Floats, Mask]:
        """What ranks patients: (patients, outputs) float64 logits of each class against the rest, and bool truth."""
        return self._margins(logits), self._truth(targets)

    def rules(self) -> tuple[MetricRule, ...]:
        """Four statistics and six figures."""
        n, table = self.outputs, int(np.prod(self._confusion_shape[1:]))
        nats = metrics.LOGIT_LIMIT + 1
        bounds: dict[str, dict[str, Any]] = {
            "histogram": {"length": n * 2 * BINS, "group": 2 * BINS, "row": BINS},
            "confusion": {"length": self._confusion_shape[0] * table, "group": table, "row": self._confusion_shape[2]},
            "brier_millionths": {"length": n, "per_patient": _MILLION},
            "loss_millionths": {"length": 1, "per_patient": nats * _MILLION},
        }
        shares = (*metrics.coarse_figures(self.merit), "accuracy", "balanced_accuracy")
        highs = dict.fromkeys(shares, 1.0) | {"loss": nats}
        return metrics.rules_of(bounds, highs)

    def figures(self, statistics: Statistics) -> dict[str, float]:
        """Pooled auroc (macro over classes) with standard error and 95 % interval, accuracies, Brier score, loss.

        The error of a macro mean takes the classes as fully correlated, which can only widen it.
        `auroc_fewest` is how many patients stand on the smaller side of a class, fewest of all.
        """
        if not statistics:
            return {}
        histograms, confusion = self._read(statistics)
        patients = int(histograms[0].sum())
        area, error = _mean([metrics.auroc(h) for h in histograms]), _mean([metrics.auroc_error(h) for h in histograms])
        figures: dict[str, float | None] = {
            "auroc": area,
            "accuracy": _mean([metrics.accuracy(c) for c in confusion]),
            "balanced_accuracy": _mean([metrics.balanced_accuracy(c) for c in confusion]),
        }
        if area is not None and error is not None:
            figures |= metrics.surety(self.merit, area, error, fewest=int(histograms.sum(axis=2).min()))
        if patients:
            figures["brier"] = sum(statistics["brier_millionths"]) / (_MILLION * patients * self.outputs)
            figures["loss"] = statistics["loss_millionths"][0] / (_MILLION * patients)
        if self.outputs > 1:
            named = zip(self.spec.classes, histograms, strict=True)
            figures |= {f"auroc.{name}": metrics.auroc(h) for name, h in named}
        return {name: value for name, value in figures.items() if value is not None}

    def thresholds(self, statistics: Statistics) -> Thresholds | None:
        """One logit per output by Youden's J; None for multiclass, which calls the likeliest class."""
        if self.spec.mode == "multiclass" or not statistics:
            return None
        chosen = [metrics.youden_threshold(h) for h in self._read(statistics)[0]]
        return None if None in chosen else tuple(t for t in chosen if t is not None)

    def figures_at(self, statistics: Statistics, thresholds: Thresholds) -> dict[str, float]:
        """Accuracies, sensitivity and specificity (macro over outputs) at the thresholds."""
        if not statistics:
            return {}
        pairs = zip(self._read(statistics)[0], thresholds, strict=True)
        tables = [metrics.confusion_at(h, t) for h, t in pairs]
        figures = {
            "accuracy": _mean([metrics.accuracy(c) for c in tables]),
            "balanced_accuracy": _mean([metrics.balanced_accuracy(c) for c in tables]),
            "sensitivity": _mean([_share(c[1, 1], c[1]) for c in tables]),
            "specificity": _mean([_share(c[0, 0], c[0]) for c in tables]),
        }
        return {name: value for name, value in figures.items() if value is not None}

    @property
    def _confusion_shape(self) -> tuple[int, int, int]:
        n = self.outputs
        return (1, n, n) if self.spec.mode == "multiclass" else (n, 2, 2)

    def _read(self, statistics: Statistics) -> tuple[Integers, Integers]:
        histograms = np.array(statistics["histogram"], np.int64).reshape(self.outputs, 2, BINS)
        return histograms, np.array(statistics["confusion"], np.int64).reshape(self._confusion_shape)

    def _margins(self, logits: Floats) -> Floats:
        limit = metrics.LOGIT_LIMIT  # a finite model may still overflow to inf or nan
        values = np.nan_to_num(np.asarray(logits, np.float64), nan=0.0, posinf=limit, neginf=-limit)
        if self.spec.mode == "multiclass":
            others = [np.logaddexp.reduce(np.delete(values, c, axis=1), axis=1) for c in range(self.outputs)]
            values = values - np.stack(others, axis=1)
        return np.clip(values, -limit, limit)

    def _truth(self, targets: Integers) -> Mask:
        if self.spec.mode == "multiclass":
            return np.equal(targets[:, None], np.arange(self.outputs))
        return np.equal(targets.reshape(-1, self.outputs), 1)

    def _confusion(self, margins: Floats, truth: Mask) -> Integers:
        counts = np.zeros(self._confusion_shape, np.int64)
        if self.spec.mode == "multiclass":
            np.add.at(counts[0], (truth.argmax(axis=1), margins.argmax(axis=1)), 1)
        else:
            columns = np.broadcast_to(np.arange(self.outputs), truth.shape)
            np.add.at(counts, (columns, truth.astype(np.int64), (margins >= 0).astype(np.int64)), 1)
        return counts

    def _losses(self, margins: Floats, truth: Mask) -> Floats:
        nats = np.logaddexp(0.0, np.where(truth, -margins, margins))  # (patients, outputs), -log p of the truth
        return nats[truth] if self.spec.mode == "multiclass" else nats.mean(axis=1)


def _probability(margins: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -margins)))


def _mean(values: list[Any]) -> float | None:
    return None if None in values else float(np.mean(values))


def _share(part: Any, whole: Integers) -> float | None:
    return float(part / whole.sum()) if whole.sum() else None
