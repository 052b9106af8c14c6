import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss, log_loss, roc_auc_score

from shared import metrics
from shared.metrics import BINS, Score
from shared.study import TaskSpec
from shared.tasks import Task, task_for

MODEL = "ab" * 32
BINARY = task_for(TaskSpec(classes=("pneumonia",)))
MULTICLASS = task_for(TaskSpec(mode="multiclass", classes=("a", "b", "c")))
MULTILABEL = task_for(TaskSpec(mode="multilabel", classes=("effusion", "mass")))
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL}

Drawn = tuple[NDArray[Any], NDArray[Any]]


def drawn(mode: str, patients: int = 400, *, scale: float = 2.0, seed: int = 0) -> Drawn:
    """Logits (patients, outputs) float32 that know something of the targets."""
    rng = np.random.default_rng(seed)
    outputs = TASKS[mode].outputs
    if mode == "multiclass":
        targets = rng.integers(0, 3, patients)
        truth = targets[:, None] == np.arange(3)
    else:
        truth = rng.random((patients, outputs)) < 0.4
        targets = truth.astype(np.int64) if mode == "multilabel" else truth[:, 0].astype(np.int64)
    return (scale * (rng.standard_normal((patients, outputs)) + truth)).astype(np.float32), targets


def scored(mode: str, logits: NDArray[Any], targets: NDArray[Any]) -> Score:
    return TASKS[mode].score(logits, targets, model_digest=MODEL, split="test")


# ------------------------------------------------------------------ loss


@pytest.mark.parametrize("mode", TASKS)
def test_the_loss_is_cross_entropy_in_nats(mode: str) -> None:
    logits, targets = drawn(mode, 64)
    loss = TASKS[mode].loss(torch.from_numpy(logits), torch.from_numpy(targets))
    assert loss.shape == ()
    assert float(loss) == pytest.approx(scored(mode, logits, targets).figures["loss"], abs=1e-4)


def test_the_loss_can_be_differentiated() -> None:
    logits = torch.zeros(3, 1, requires_grad=True)
    BINARY.loss(logits, torch.tensor([0, 1, 1])).backward()
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx([1 / 6, -1 / 6, -1 / 6])


# ------------------------------------------------------------------ patients


def test_a_patients_logits_are_the_mean_and_the_target_the_largest() -> None:
    logits = np.array([[1.0], [3.0], [-2.0], [5.0]], np.float32)
    rows, targets = BINARY.by_patient(logits, np.array([0, 1, 0, 0]), np.array([0, 0, 1, 2]))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[2.0], [-2.0], [5.0]]
    assert targets.tolist() == [1, 0, 0]


def test_findings_of_a_patients_images_are_united() -> None:
    findings = np.array([[1, 0], [0, 1], [0, 0]])
    _, targets = MULTILABEL.by_patient(np.zeros((3, 2), np.float32), findings, np.array([0, 0, 1]))
    assert targets.tolist() == [[1, 1], [0, 0]]


def test_a_patients_order_of_images_does_not_matter() -> None:
    logits, targets = drawn("binary", 50)
    patients = np.arange(50) // 3
    order = np.random.default_rng(0).permutation(50)
    one = BINARY.by_patient(logits, targets, patients)
    other = BINARY.by_patient(logits[order], targets[order], patients[order])
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    assert one[1].tolist() == other[1].tolist()


# ------------------------------------------------------------------ a site's score


def point(figures: dict[str, float]) -> dict[str, float]:
    """Without the ends of the interval, which hold the figure between them."""
    assert figures["auroc_low"] < figures["auroc"] < figures["auroc_high"]
    return {name: value for name, value in figures.items() if name not in ("auroc_low", "auroc_high")}


def test_a_binary_site_has_the_figures_of_sklearn() -> None:
    logits, targets = drawn("binary")
    score = scored("binary", logits, targets)
    calls, shares = logits[:, 0] >= 0, expit(logits[:, 0].astype(np.float64))
    assert score.model_digest == MODEL
    assert score.split == "test"
    assert score.patients == 400
    assert point(score.figures) == {
        "auroc": round(roc_auc_score(targets, logits[:, 0]), 4),
        "accuracy": round(accuracy_score(targets, calls), 4),
        "balanced_accuracy": round(balanced_accuracy_score(targets, calls), 4),
        "loss": round(log_loss(targets, shares), 4),
    }


def test_a_multiclass_site_has_the_figures_of_sklearn() -> None:
    logits, targets = drawn("multiclass")
    figures = scored("multiclass", logits, targets).figures
    shares = softmax(logits.astype(np.float64), axis=1)
    assert point(figures) == {
        "auroc": round(roc_auc_score(targets, shares, multi_class="ovr", average="macro"), 4),
        "accuracy": round(accuracy_score(targets, logits.argmax(axis=1)), 4),
        "balanced_accuracy": round(balanced_accuracy_score(targets, logits.argmax(axis=1)), 4),
        "loss": round(log_loss(targets, shares), 4),
    }


def test_a_multilabel_site_has_the_macro_figures_of_sklearn() -> None:
    logits, targets = drawn("multilabel")
    figures = scored("multilabel", logits, targets).figures
    assert figures["auroc"] == round(roc_auc_score(targets, logits, average="macro"), 4)
    assert figures["accuracy"] == round(float(np.mean(targets == (logits >= 0))), 4)
    by_label = [balanced_accuracy_score(targets[:, c], logits[:, c] >= 0) for c in range(2)]
    assert figures["balanced_accuracy"] == round(float(np.mean(by_label)), 4)


@pytest.mark.parametrize("mode", TASKS)
def test_what_is_undefined_is_left_out(mode: str) -> None:
    logits, targets = drawn(mode, 20)
    figures = scored(mode, logits, np.zeros_like(targets)).figures
    assert set(figures) == {"accuracy", "loss"}


@pytest.mark.parametrize("mode", TASKS)
def test_a_site_without_patients_gives_zeros_and_no_figures(mode: str) -> None:
    logits, targets = drawn(mode, 0)
    score = scored(mode, logits, targets)
    assert score.patients == 0
    assert score.figures == {}
    assert not any(any(vector) for vector in score.statistics.values())
    assert TASKS[mode].figures(score.statistics) == {}


@pytest.mark.parametrize("mode", TASKS)
def test_logits_that_overflowed_still_give_a_lawful_score(mode: str) -> None:
    logits, targets = drawn(mode, 30)
    logits[:10], logits[10:15], logits[15:20] = np.nan, np.inf, -np.inf
    conforms(TASKS[mode], scored(mode, logits, targets))


def conforms(task: Task, score: Score) -> None:
    """Every metric of the score has a rule, and keeps it."""
    rules = {(rule.kind, rule.name): rule for rule in task.rules()}
    for name, vector in score.statistics.items():
        rule = rules[("statistic", name)]
        assert len(vector) == rule.length
        assert all(rule.low <= n <= rule.high for n in vector)
    for name, value in score.figures.items():
        rule = rules[("figure", name)]
        assert rule.low <= value <= rule.high


@pytest.mark.parametrize("mode", TASKS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_a_score_keeps_the_rules_and_uses_all_of_them(mode: str, scale: float) -> None:
    score = scored(mode, *drawn(mode, scale=scale))
    conforms(TASKS[mode], score)
    assert {rule.name for rule in TASKS[mode].rules()} == {*score.statistics, *score.figures}


@pytest.mark.parametrize(
    ("mode", "histogram", "confusion"), [("binary", 2, 4), ("multiclass", 6, 9), ("multilabel", 4, 8)]
)
def test_statistics_hold_every_patient_once_per_output(mode: str, histogram: int, confusion: int) -> None:
    statistics = scored(mode, *drawn(mode)).statistics
    assert len(statistics["histogram"]) == histogram * BINS
    assert len(statistics["confusion"]) == confusion
    assert sum(statistics["histogram"]) == 400 * TASKS[mode].outputs
    assert sum(statistics["confusion"]) == (400 if mode == "multiclass" else 400 * TASKS[mode].outputs)


def test_the_binary_confusion_is_by_truth_then_call() -> None:
    logits = np.array([[-1.0], [1.0], [1.0], [-1.0], [-1.0], [-1.0]], np.float32)
    statistics = scored("binary", logits, np.array([0, 0, 1, 1, 1, 1])).statistics
    assert statistics["confusion"] == (1, 1, 3, 1)


# ------------------------------------------------------------------ pooled figures


@pytest.mark.parametrize("mode", TASKS)
@pytest.mark.parametrize("scale", [0.1, 2.0, 10.0])
def test_pooled_figures_are_those_of_all_patients_together(mode: str, scale: float) -> None:
    logits, targets = drawn(mode, 800, scale=scale)
    sites = np.random.default_rng(5).integers(0, 4, 800)
    parts = [scored(mode, logits[sites == s], targets[sites == s]).statistics for s in range(4)]
    pooled, together = TASKS[mode].figures(metrics.add(parts)), scored(mode, logits, targets).figures
    assert pooled["auroc"] == pytest.approx(together["auroc"], abs=0.002)
    assert pooled["auroc_low"] < pooled["auroc"] < pooled["auroc_high"]
    for name in ("accuracy", "balanced_accuracy", "loss"):
        assert pooled[name] == pytest.approx(together[name], abs=1e-4)


def test_the_pooled_brier_score_is_sklearns() -> None:
    logits, targets = drawn("binary")
    shares = expit(logits[:, 0].astype(np.float64))
    brier = BINARY.figures(scored("binary", logits, targets).statistics)["brier"]
    assert brier == pytest.approx(brier_score_loss(targets, shares), abs=1e-6)


def test_several_classes_are_named_one_by_one() -> None:
    logits, targets = drawn("multilabel")
    figures = MULTILABEL.figures(scored("multilabel", logits, targets).statistics)
    assert figures["auroc.mass"] == pytest.approx(roc_auc_score(targets[:, 1], logits[:, 1]), abs=0.002)
    assert figures["auroc"] == pytest.approx((figures["auroc.mass"] + figures["auroc.effusion"]) / 2)
    assert not [name for name in BINARY.figures(scored("binary", *drawn("binary")).statistics) if "." in name]


def test_a_class_nobody_has_leaves_the_macro_figure_out_but_not_the_others() -> None:
    logits, targets = drawn("multilabel")
    targets[:, 0] = 0
    figures = MULTILABEL.figures(scored("multilabel", logits, targets).statistics)
    assert "auroc" not in figures
    assert "auroc.effusion" not in figures
    assert figures["auroc.mass"] > 0.5


# ------------------------------------------------------------------ thresholds


def test_a_threshold_from_validation_is_applied_to_test() -> None:
    validation, test = drawn("binary", seed=1), drawn("binary", seed=2)
    chosen = BINARY.thresholds(scored("binary", validation[0] - 4, validation[1]).statistics)
    assert chosen is not None
    figures = BINARY.figures_at(scored("binary", test[0] - 4, test[1]).statistics, chosen)
    calls = test[0][:, 0] - 4 >= chosen[0]
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test[1], calls))
    assert figures["accuracy"] == pytest.approx(accuracy_score(test[1], calls))
    assert figures["balanced_accuracy"] == pytest.approx((figures["sensitivity"] + figures["specificity"]) / 2)
    assert figures["balanced_accuracy"] > scored("binary", test[0] - 4, test[1]).figures["balanced_accuracy"]


def test_thresholds_exist_per_finding_and_not_for_multiclass() -> None:
    chosen = MULTILABEL.thresholds(scored("multilabel", *drawn("multilabel")).statistics)
    assert chosen is not None
    assert len(chosen) == 2
    assert MULTICLASS.thresholds(scored("multiclass", *drawn("multiclass")).statistics) is None
    one_class = scored("binary", np.zeros((3, 1), np.float32), np.array([1, 1, 1]))
    assert BINARY.thresholds(one_class.statistics) is None


def test_the_seam_and_the_metrics_need_no_torch() -> None:
    code = "import sys, shared.tasks, shared.metrics; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("mode", TASKS)
@pytest.mark.parametrize("scale", [0.0, 2.0, 1e9])
@pytest.mark.parametrize("patients", [0, 1, 400])
def test_every_true_score_keeps_its_own_rules(mode: str, scale: float, patients: int) -> None:
    score = scored(mode, *drawn(mode, patients, scale=scale))
    rules = {rule.name: rule for rule in TASKS[mode].rules() if rule.kind == "statistic"}
    assert all(rules[name].holds(values, patients=patients) for name, values in score.statistics.items())
    assert not rules["histogram"].holds(score.statistics["histogram"], patients=patients + 1)
