"""Masks against masks: the three rules, patients, statistics that add, and figures of them."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from shared import metrics
from shared.metrics import Score
from shared.segmentation import Segmentation
from shared.study import TaskSpec
from shared.tasks import task_for

MODEL = "ab" * 32
ONE = Segmentation(TaskSpec(kind="segmentation", classes=("lesion",)))
TWO = Segmentation(TaskSpec(kind="segmentation", mode="multiclass", classes=("liver", "spleen")))


def logits_of(masks: torch.Tensor, task: Segmentation = ONE) -> torch.Tensor:
    """Sure logits that call exactly these masks."""
    if task is ONE:
        return (masks[:, None] * 20.0 - 10.0).float()
    return 20.0 * torch.nn.functional.one_hot(masks, task.outputs).movedim(-1, 1).float() - 10.0


def boxes(*sides: tuple[int, int, int, int], size: int = 24) -> torch.Tensor:
    """One mask for each (top, bottom, left, right)."""
    masks = torch.zeros((len(sides), size, size), dtype=torch.int64)
    for mask, (top, bottom, left, right) in zip(masks, sides, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def score(task: Segmentation, called: torch.Tensor, truth: torch.Tensor, patients: Any = None) -> Score:
    measured = task.measure(logits_of(called, task), truth)
    shown = np.stack([(truth == n + 1).flatten(1).any(1).numpy() for n in range(len(task.spec.classes))], axis=1)
    patients = np.arange(len(truth)) if patients is None else patients
    return task.score(*task.by_patient(measured, shown.astype(np.int64), patients), model_digest=MODEL, split="test")


def surface(mask: torch.Tensor) -> Any:
    found = mask.numpy().astype(bool)
    return np.argwhere(found & ~binary_erosion(found))


def test_the_task_of_a_study_that_segments() -> None:
    assert isinstance(task_for(ONE.spec), Segmentation)
    assert task_for(ONE.spec, spacing_mm=(1.0, 2.0, 5.0)) == FLAT
    assert task_for(ONE.spec).merit == "dice"


def test_dice_and_hd95_are_those_of_the_definitions() -> None:
    rng = np.random.default_rng(0)
    sides = [(t, t + h, s, s + w) for t, h, s, w in rng.integers(2, 11, (12, 4)).tolist()]
    called, truth = boxes(*sides), boxes(*sides[::-1])
    found = ONE.measure(logits_of(called), truth)
    for row, one, other in zip(found, called, truth, strict=True):
        ways = cdist(surface(one), surface(other))
        far = max(np.percentile(ways.min(axis=1), 95), np.percentile(ways.min(axis=0), 95))
        shared = int((one & other).sum())
        assert row[0] == pytest.approx(2 * shared / int(one.sum() + other.sum()))
        assert row[1] == pytest.approx(far / np.hypot(24, 24), abs=1e-6)


def test_a_right_mask_is_perfect_and_costs_next_to_nothing() -> None:
    dice, distance, loss = ONE.measure(logits_of(boxes((3, 9, 4, 8))), boxes((3, 9, 4, 8)))[0]
    assert (dice, distance) == (1.0, 0.0)
    assert loss < 0.01


def test_where_only_one_of_the_two_shows_it_dice_is_0_and_the_distance_the_diagonal() -> None:
    empty, full = boxes((0, 0, 0, 0)), boxes((3, 9, 4, 8))
    for called, truth in ((empty, full), (full, empty)):
        assert ONE.measure(logits_of(called), truth)[0, :2].tolist() == [0.0, 1.0]


def test_where_neither_shows_it_nothing_is_measured_and_the_patient_is_counted() -> None:
    empty, full = (0, 0, 0, 0), (3, 9, 4, 8)
    found = score(ONE, boxes(full, empty, empty), boxes(full, empty, empty), patients=np.array([0, 0, 1]))
    assert found.patients == 2
    assert found.statistics["measured"] == found.statistics["excluded"] == (1,)
    assert found.figures["dice"] == 1.0
    assert ONE.figures(found.statistics)["excluded"] == 1


def test_a_patient_is_the_mean_over_the_images() -> None:
    truth = boxes((2, 6, 2, 6), (2, 6, 2, 6), (2, 6, 2, 6))
    called = boxes((2, 6, 2, 6), (9, 13, 9, 13), (2, 6, 2, 6))
    found = score(ONE, called, truth, patients=np.array([0, 0, 1]))
    assert found.statistics["dice_millionths"] == (1_500_000,)
    assert found.figures["dice"] == 0.75


def test_each_structure_is_measured_for_itself() -> None:
    truth, called = boxes((2, 6, 2, 6)), boxes((2, 6, 2, 6))
    truth[0, 10:14, 10:14] = called[0, 18:22, 18:22] = 2
    found = TWO.figures(score(TWO, called, truth).statistics)
    assert (found["dice.liver"], found["dice.spleen"], found["dice"]) == (1.0, 0.0, 0.5)
    assert found["hd95.liver"] == 0.0 < found["hd95.spleen"]


def test_statistics_of_sites_add_up_to_those_of_all_and_fit_the_contract() -> None:
    rng = np.random.default_rng(1)
    corners = rng.integers(2, 9, (2, 40, 2)).tolist()
    called, truth = (boxes(*((t, t + 8, s, s + 8) for t, s in sides)) for sides in corners)
    whole = score(ONE, called, truth)
    parts = [score(ONE, called[part], truth[part]) for part in (slice(0, 15), slice(15, 40))]
    added = metrics.add(part.statistics for part in parts)
    one, other = ONE.figures(added), ONE.figures(whole.statistics)
    assert one == pytest.approx(other, abs=1e-6)
    rules = {rule.name: rule for rule in ONE.rules() if rule.kind == "statistic"}
    assert rules.keys() == whole.statistics.keys()
    assert all(rules[name].holds(values, patients=40) for name, values in whole.statistics.items())
    assert {rule.name for rule in ONE.rules() if rule.kind == "figure"} == whole.figures.keys()
    assert not rules["dice_millionths"].holds((41_000_000,), patients=40)
    assert not rules["measured"].holds((41,), patients=40)


def test_the_interval_is_that_of_the_mean_over_patients() -> None:
    rng = np.random.default_rng(2)
    dice = rng.uniform(0.2, 0.9, 200)
    rows = np.stack([dice, np.zeros(200), np.ones(200)], axis=1).astype(np.float32)
    found = ONE.score(rows, np.ones((200, 1), np.int64), model_digest=MODEL, split="test")
    error = dice.std(ddof=1) / np.sqrt(200)
    figures = ONE.figures(found.statistics)
    assert figures["dice"] == pytest.approx(dice.mean(), abs=1e-6)
    assert figures["dice_error"] == pytest.approx(error, rel=1e-4)
    assert figures["dice_high"] - figures["dice"] == pytest.approx(1.96 * error, rel=1e-3)
    assert figures["dice_fewest"] == 200


def test_a_structure_that_is_nowhere_is_left_out_and_counted() -> None:
    truth, called = torch.cat([boxes((2, 6, 2, 6))] * 2), torch.cat([boxes((2, 6, 2, 6)), boxes((2, 6, 2, 4))])
    found = TWO.figures(score(TWO, called, truth).statistics)
    assert found["dice"] == found["dice.liver"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert "dice.spleen" not in found and "hd95.spleen" not in found
    assert (found["unmeasured"], found["excluded"], found["dice_fewest"]) == (1, 2, 2)
    assert found["dice_low"] < found["dice"] < found["dice_high"]


def test_of_nobody_there_is_no_figure() -> None:
    found = ONE.score(np.zeros((0, 3), np.float32), np.zeros((0, 1), np.int64), model_digest=MODEL, split="test")
    assert found.figures == {}
    assert ONE.figures({}) == {}
    assert ONE.thresholds(found.statistics) is None
    assert ONE.figures_at(found.statistics, ()) == {}


@pytest.mark.parametrize("task", [ONE, TWO])
def test_a_model_that_overflows_is_scored_within_the_contract(task: Segmentation) -> None:
    logits = torch.full((3, task.outputs, 8, 8), 1e38) * torch.tensor([1.0, 100.0, float("nan")]).view(3, 1, 1, 1)
    measured = task.measure(logits, torch.ones((3, 8, 8), dtype=torch.int64))
    assert np.isfinite(measured[:, -1]).all()
    most = next(rule.high for rule in task.rules() if (rule.kind, rule.name) == ("figure", "loss"))
    assert 0 <= measured[:, -1].min() <= measured[:, -1].max() <= most


@pytest.mark.parametrize("task", [ONE, TWO])
def test_the_loss_leads_to_the_mask(task: Segmentation) -> None:
    truth = boxes((2, 10, 2, 10), size=16)
    truth[:, 11:14, 11:14] = len(task.spec.classes)
    logits = torch.zeros((1, task.outputs, 16, 16), requires_grad=True)
    start = task.loss(logits, truth).item()
    for _ in range(60):
        (gradient,) = torch.autograd.grad(task.loss(logits, truth), logits)
        logits = (logits - 20 * gradient).detach().requires_grad_()
    assert task.loss(logits, truth).item() < 0.3 * start
    assert task.measure(logits.detach(), truth)[0, 0] == 1.0


def test_the_task_is_known_without_torch_or_monai() -> None:
    code = "import sys, shared.tasks; print({'torch', 'monai', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# ------------------------------------------------------------------ volumes

FLAT = Segmentation(ONE.spec, spacing_mm=(1.0, 2.0, 5.0))  # right to left, front to back, feet to head


def box(bottom: int, top: int, left: int) -> torch.Tensor:
    """A volume of 8 x 12 x 16 with a box between two slices, from a column on."""
    mask = torch.zeros((1, 8, 12, 16), dtype=torch.int64)
    mask[:, bottom:top, 3:9, left : left + 4] = 1
    return mask


def test_the_three_rules_hold_for_volumes() -> None:
    empty, full = box(0, 0, 2), box(2, 5, 2)
    for task in (ONE, FLAT):
        found = task.measure(logits_of(torch.cat([full, full, empty, empty])), torch.cat([full, empty, full, empty]))
        np.testing.assert_array_equal(found[:, :2], [[1, 0], [0, 1], [0, 1], [np.nan, np.nan]])


@pytest.mark.parametrize(("task", "edges"), [(ONE, (1, 1, 1)), (FLAT, (5, 2, 1))])
def test_distances_between_volumes_are_those_of_their_grid(task: Segmentation, edges: tuple[int, int, int]) -> None:
    called, truth = box(1, 4, 3), box(2, 6, 8)
    ((dice, distance, _),) = task.measure(logits_of(called), truth)
    ways = cdist(surface(called[0]) * edges, surface(truth[0]) * edges)
    far = max(np.percentile(ways.min(axis=1), 95), np.percentile(ways.min(axis=0), 95))
    diagonal = np.linalg.norm(np.array([8, 12, 16]) * edges)
    assert dice == 0  # they lie beside each other
    assert distance == pytest.approx(far / diagonal, abs=1e-6)
