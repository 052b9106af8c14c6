"""The task seam: what a batch costs, and what a model's output says about patients.

Rounds, wire and ledger know a task only through `Task`: a loss over a batch, what is kept of each image, one
row per patient, a Score whose statistics add over sites, rules that bound it, and figures of pooled statistics.
Other tasks fit by being another `Task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from shared.classification import Classification
from shared.generation import Generation
from shared.instances import CountedSegmentation
from shared.metrics import Floats, Integers, Merit, MetricRule, Score, Statistics, Thresholds
from shared.segmentation import Segmentation
from shared.study import TaskSpec

if TYPE_CHECKING:
    from torch import Tensor


class Task(Protocol):
    """What rounds, sites and reports may ask of any task."""

    @property
    def merit(self) -> Merit:
        """The figure by which its models are known; its interval is `MERIT_low` to `MERIT_high`, and
        `MERIT_error` and `MERIT_fewest` say how sure it is."""

    @property
    def outputs(self) -> int:
        """Logits the model gives for one image, or for one place of it."""

    @property
    def columns(self) -> int:
        """Numbers that `measure` keeps of an image."""

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch, as a scalar that can be differentiated."""

    def measure(self, logits: Tensor, target: Tensor) -> Floats:
        """All that a score needs of each image of a batch, (images, columns) float32, from tensors on the CPU."""

    def by_patient(self, measured: Floats, targets: Integers, patients: Integers) -> tuple[Floats, Integers]:
        """One row and one target per patient, from those of the patients' images; targets are `Examples.labels`."""

    def score(
        self, measured: Floats, targets: Integers, *, model_digest: str, split: Literal["validation", "test"]
    ) -> Score:
        """Score one row per patient: statistics that add, and this site's own figures."""

    def rules(self) -> tuple[MetricRule, ...]:
        """All that `score` may hold; part of the contract."""

    def figures(self, statistics: Statistics) -> dict[str, float]:
        """Figures of pooled statistics; those that are not defined are left out. No statistics have no figures."""

    def thresholds(self, statistics: Statistics) -> Thresholds | None:
        """Where to cut the logits, chosen on validation statistics; None if that is not defined."""

    def figures_at(self, statistics: Statistics, thresholds: Thresholds) -> dict[str, float]:
        """Figures of (test) statistics at thresholds chosen elsewhere."""


def task_for(spec: TaskSpec, *, spacing_mm: tuple[float, float, float] | None = None) -> Task:
    """The task that a study names; who measures images says how far the voxels of the study's volumes lie apart."""
    if spec.kind == "segmentation":
        return (CountedSegmentation if spec.instances else Segmentation)(spec, spacing_mm)
    return Generation(spec) if spec.kind == "generation" else Classification(spec)
