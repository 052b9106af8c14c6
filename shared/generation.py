"""Generation: how well a model draws images such as those of the sites, told of patients it was not trained on.

The network (`shared/networks/vae.py`) says of each image how far its reconstruction is; the loss is the negative
evidence lower bound in nats per value of the image, but for a constant. A patient has the mean over the images, and a
federation the mean over patients. Torch is imported only to compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared import metrics
from shared.metrics import Floats, Integers, Merit, MetricRule, Score, Statistics, Thresholds
from shared.study import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

_MILLION = 1_000_000
_NATS_LIMIT = 1000.0  # per value of an image; a pixel that is wholly wrong costs 50


@dataclass(frozen=True)
class Generation:
    """Images of one kind, which the study names as its class.

    Statistics, one value each: `measured` patients; `ssim_millionths` and `ssim_square_millionths`, a
    similarity below 0 counting as 0; `error_millionths` and `divergence_millionths`, the two parts of the loss.
    """

    spec: TaskSpec

    @property
    def merit(self) -> Merit:
        """The mean structural similarity of images and their reconstructions."""
        return "ssim"

    @property
    def outputs(self) -> int:
        """Error, divergence and similarity."""
        return 3

    @property
    def columns(self) -> int:
        """The same."""
        return 3

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean negative evidence lower bound of (batch, 3), in nats per value; nothing is asked of the target."""
        return logits[:, :2].sum(dim=1).mean()

    def measure(self, logits: Tensor, target: Tensor) -> Floats:
        """Error, divergence and similarity of each image, in the bounds of the contract."""
        found = np.nan_to_num(np.asarray(logits.numpy(), np.float32), nan=_NATS_LIMIT, posinf=_NATS_LIMIT)
        found[:, :2] = found[:, :2].clip(0, _NATS_LIMIT)
        found[:, 2] = np.where(np.isfinite(logits[:, 2].numpy()), found[:, 2].clip(0, 1), 0)
        return found

    def by_patient(self, measured: Floats, targets: Integers, patients: Integers) -> tuple[Floats, Integers]:
        """Means over each patient's images.

        Args:
            measured: (images, 3).
            targets: (images, ...), which say nothing here.
            patients: (images,) dense index of the patient, each of 0..patients-1 at least once.

        Returns:
            (patients, 3) float32 and (patients,) int64 of 1.
        """
        images = np.bincount(patients)
        sums = np.zeros((len(images), self.columns))
        np.add.at(sums, patients, measured)
        return (sums / images[:, None]).astype(np.float32), np.ones(len(images), np.int64)

    def alike(self, measured: Floats) -> Floats:
        """The (n, 1) similarities among what was measured."""
        return np.asarray(measured[:, 2:])

    def score(
        self, measured: Floats, targets: Integers, *, model_digest: str, split: Literal["validation", "test"]
    ) -> Score:
        """Score one row per patient."""
        error, divergence, alike = np.asarray(measured, np.float64).reshape(-1, 3).T
        sums = {"error": error, "divergence": divergence, "ssim": alike, "ssim_square": alike**2}
        statistics = {f"{name}_millionths": np.rint(of.sum(keepdims=True) * _MILLION) for name, of in sums.items()}
        statistics["measured"] = np.array([len(measured)])
        figures = self.figures(metrics.counts_of(statistics))
        own = {name: figures.get(name) for name in (*metrics.coarse_figures(self.merit), "loss")}
        return metrics.score_of(statistics, own, patients=len(measured), model_digest=model_digest, split=split)

    def rules(self) -> tuple[MetricRule, ...]:
        """Five statistics and four figures."""
        each = {"ssim": 1, "ssim_square": 1, "error": _NATS_LIMIT, "divergence": _NATS_LIMIT}
        bounds: dict[str, dict[str, Any]] = {f"{k}_millionths": {"per_patient": v * _MILLION} for k, v in each.items()}
        bounds["measured"] = {"per_patient": 1, "row": 1}
        highs = dict.fromkeys(metrics.coarse_figures(self.merit), 1.0) | {"loss": 2 * _NATS_LIMIT}
        return metrics.rules_of(bounds, highs)

    def figures(self, statistics: Statistics) -> dict[str, float]:
        """Mean similarity with standard error and 95 % interval; loss, and its parts, in nats per value."""
        if not statistics or not (patients := statistics["measured"][0]):
            return {}
        sums = {name: statistics[f"{name}_millionths"][0] / _MILLION for name in ("ssim", "ssim_square")}
        parts = {name: statistics[f"{name}_millionths"][0] / (_MILLION * patients) for name in ("error", "divergence")}
        mean = sums["ssim"] / patients
        figures = {"ssim": mean, "loss": sum(parts.values()), **parts}
        if patients > 1:
            means, squares, of = (np.array([one]) for one in (mean, sums["ssim_square"] / patients, patients))
            error = float(metrics.standard_error(means, squares, of)[0])
            figures |= metrics.surety(self.merit, mean, error, fewest=float(patients))
        return figures

    def thresholds(self, statistics: Statistics) -> Thresholds | None:
        """None: there is nothing to cut."""
        return None

    def figures_at(self, statistics: Statistics, thresholds: Thresholds) -> dict[str, float]:
        """None."""
        return {}
