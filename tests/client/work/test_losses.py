"""What a batch costs, against the same formulas written out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from client.work.losses import loss_for, shares_of
from client.work.mixup import mixup
from shared.study import TaskSpec
from shared.tasks import Task, task_for
from shared.training import TrainingSpec

MODES = {"binary": ("a",), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b", "c")}


def task(mode: str) -> Task:
    return task_for(TaskSpec.model_validate({"mode": mode, "classes": MODES[mode]}))


def labels(mode: str, count: int = 40) -> Any:
    """Uneven ones."""
    rng = np.random.default_rng(3)
    if mode == "multiclass":
        return np.arange(count) % 8 % 3
    return (
        (rng.random((count, 3)) < [0.2, 0.5, 0.7]).astype(np.int64)
        if mode == "multilabel"
        else np.arange(count) % 4 // 3
    )


def logits(mode: str, count: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(4).normal(0, 3, (count, len(MODES[mode]))).astype(np.float32))


def cost(mode: str, **keys: Any) -> Any:
    spec = TrainingSpec.model_validate({"epochs_per_round": 1, **keys})
    return loss_for(spec, task=task(mode), labels=labels(mode), device="cpu")


@pytest.mark.parametrize("mode", MODES)
def test_the_usual_loss_is_the_tasks_own(mode: str) -> None:
    given, truth = logits(mode), torch.from_numpy(labels(mode))
    assert torch.equal(cost(mode)(given, truth), task(mode).loss(given, truth))


@pytest.mark.parametrize("mode", MODES)
def test_a_focal_loss_that_focuses_hardly_is_the_cross_entropy(mode: str) -> None:
    given, truth = logits(mode), torch.from_numpy(labels(mode))
    found = cost(mode, loss="focal", focal_gamma=1e-7)(given, truth)
    assert found.item() == pytest.approx(task(mode).loss(given, truth).item(), rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_focal_loss_is_that_of_the_paper(mode: str) -> None:
    given, truth = logits(mode), torch.from_numpy(labels(mode))
    if mode == "multiclass":
        of_truth = given.double().softmax(dim=1)[torch.arange(len(given)), truth]
    else:
        yes = torch.sigmoid(given.double())
        of_truth = torch.where(truth.reshape(yes.shape) == 1, yes, 1 - yes)
    expected = (-((1 - of_truth) ** 2) * of_truth.log()).mean()
    assert cost(mode, loss="focal")(given, truth).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_has_a_gradient_where_the_model_is_sure(gamma: float) -> None:
    sure = torch.tensor([[60.0, -60.0, -60.0]], requires_grad=True)
    cost("multiclass", loss="focal", focal_gamma=gamma)(sure, torch.tensor([0])).backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


def test_weights_are_torchs_of_several_classes() -> None:
    given, counts = logits("multiclass"), np.bincount(labels("multiclass"))
    truth = torch.from_numpy(labels("multiclass"))
    weights = torch.from_numpy(40 / (3 * counts)).float()
    expected = functional.cross_entropy(given, truth, weight=weights)
    assert cost("multiclass", loss="weighted")(given, truth).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_yes_and_no_of_each_finding_weigh_alike(mode: str) -> None:
    """Of logits that say nothing, each side costs half of log 2, however many images it has."""
    truth = torch.from_numpy(labels(mode))
    given = torch.zeros(len(truth), len(MODES[mode]), requires_grad=True)
    cost(mode, loss="weighted")(given, truth).backward()
    assert given.grad is not None
    yes = truth.reshape(given.shape) == 1
    for column in range(given.shape[1]):
        sides = [given.grad[yes[:, column] == side, column].sum().item() for side in (True, False)]
        assert sides[0] == pytest.approx(-sides[1], rel=1e-4)
        assert sides[0] != 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keys", [{}, {"loss": "weighted"}, {"loss": "focal"}])
def test_shares_of_whole_classes_cost_what_the_classes_do(mode: str, keys: dict[str, Any]) -> None:
    given, truth = logits(mode), torch.from_numpy(labels(mode))
    shares = shares_of(truth, exclusive=mode == "multiclass", outputs=given.shape[1])
    found = [cost(mode, **keys)(given, target).item() for target in (truth, shares)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_private_training_can_take_each_images_gradient(mode: str) -> None:
    loss, given, truth = cost(mode, loss="focal"), logits(mode, 5), torch.from_numpy(labels(mode, 5))
    each = vmap(grad(lambda one, target: loss(one[None], target[None])))(given, truth)
    for found, one, target in zip(each, given, truth, strict=True):
        assert torch.allclose(found, grad(lambda x, t=target: loss(x[None], t[None]))(one), atol=1e-6)


# ------------------------------------------------------------------ mixup


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [0, 4])
def test_images_are_mixed_as_their_labels_are(mode: str, depth: int) -> None:
    """Each image is its class's number all over, so that its mixture tells the shares."""
    truth = torch.from_numpy(labels(mode))
    shares = shares_of(truth, exclusive=mode == "multiclass", outputs=len(MODES[mode]))
    worth = shares @ torch.tensor([1.0, 10.0, 100.0])[: shares.shape[1]]
    images = worth.view(-1, *[1] * (4 if depth else 3)).expand(-1, 1, *([4] if depth else []), 4, 4)
    mixed, found = mixup(0.4, task=task(mode))(images, truth, np.random.default_rng(0))
    assert (mixed.shape, found.shape) == (images.shape, shares.shape)
    assert torch.allclose(
        mixed.flatten(1).mean(dim=1), found @ torch.tensor([1.0, 10.0, 100.0])[: shares.shape[1]], atol=1e-3
    )
    assert ((found > 0.05) & (found < 0.95)).any()
    assert torch.allclose(found.mean(dim=0), shares.mean(dim=0), atol=0.15)
    assert torch.equal(images.flatten(1)[:, 0], worth)
