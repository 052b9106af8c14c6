"""A network learns masks from a site's images, plainly and image by image as private training needs it."""

from functools import partial

import numpy as np
import pytest
import torch

from client.imaging.augmentations import augmentation
from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.evaluate import evaluate
from client.work.private_training import gradients_of
from client.work.train import fit
from shared.images import ImageSpec
from shared.metrics import Score
from shared.models import build_model
from shared.networks.spec import ModelSpec
from shared.patch import PatchSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

SPEC = TaskSpec(kind="segmentation", classes=("lesion",))
TASK = task_for(SPEC)


def bright_boxes(count: int = 16) -> Examples:
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 16, 16), np.uint16)
    for mask, (top, left) in zip(masks, rng.integers(0, 9, (count, 2)).tolist(), strict=True):
        mask[top : top + 6, left : left + 6] = 1
    images = (40000 * masks + rng.integers(0, 9000, masks.shape)).astype(np.uint16)
    return Examples(images[:, None], np.ones((count, 1), np.int64), np.arange(count), masks=masks)


def network(name: str) -> torch.nn.Module:
    model = ModelSpec.model_validate({"name": name})
    return build_model(model, images=ImageSpec(size_px=16), outputs=1, random=StudyRandom(0))


def scored(model: torch.nn.Module, examples: Examples) -> Score:
    return evaluate(model, examples, task=TASK, device="cpu", model_digest="0" * 64, split="validation", batch_size=5)


def test_training_on_masks_that_move_with_their_images_finds_them() -> None:
    model, examples = network("segresnet"), bright_boxes()
    before = scored(model, examples)
    spec = TrainingSpec(optimizer="adamw", learning_rate=0.01, batch_size=8, steps_per_round=30)
    done = fit(model, examples, spec, task=TASK, random=StudyRandom(0), device="cpu", augment=augmentation("light"))
    after = scored(model, examples)
    assert done.steps == 30
    assert after.patients == 16
    assert after.figures["dice"] > max(0.8, before.figures["dice"])
    assert after.figures["loss"] < before.figures["loss"]


def test_training_on_patches_finds_them_in_whole_images() -> None:
    small, patch = bright_boxes(), PatchSpec(size_px=16)
    assert small.masks is not None
    tiled = [np.tile(part, (1, 2, 2)) for part in (small.images[:, 0], small.masks)]
    examples = Examples(tiled[0][:, None], small.labels, small.patients, masks=tiled[1])
    model, spec = network("segresnet"), TrainingSpec(optimizer="adamw", learning_rate=0.01, steps_per_round=20)
    score = partial(evaluate, task=TASK, device="cpu", model_digest="0" * 64, split="validation", patch=patch)
    before = score(model, examples).figures["dice"]
    fit(model, examples, spec, task=TASK, random=StudyRandom(0), device="cpu", patch=patch)
    assert score(model, examples).figures["dice"] > max(0.8, before)


@pytest.mark.parametrize("name", ["unet", "segresnet"])
def test_each_image_has_a_gradient_of_its_own(name: str) -> None:
    model, examples = network(name), bright_boxes(3)
    images, targets = to_network(examples.images), torch.from_numpy(examples.targets(slice(None)))
    each = gradients_of(model, TASK.loss)(images, targets)
    TASK.loss(model(images), targets).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(each[key].mean(dim=0), parameter.grad, atol=1e-4)
