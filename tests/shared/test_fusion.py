"""The network that joins an image with what is known beside it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from client.imaging.examples import Examples
from client.work.evaluate import measured_by_patient
from client.work.private_training import gradients_of
from client.work.train import fit
from shared.clinical import ClinicalColumn
from shared.images import ImageSpec
from shared.models import build_model, state_arrays
from shared.networks.fusion import Fusion
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

COLUMNS = {
    "age": ClinicalColumn(low=0, high=100, mean=50, sd=10),
    "sex": ClinicalColumn(kind="category", values=("female", "male")),
}
TASK = task_for(TaskSpec(classes=("opacity",)))
SPEC = TrainingSpec(steps_per_round=15, batch_size=32, learning_rate=0.1)


def network(seed: int = 0, name: str = "basic_cnn", size_px: int = 16) -> Fusion:
    model = ModelSpec.model_validate({"name": name, "width": 8})
    images = ImageSpec(size_px=size_px)
    built = build_model(model, images=images, outputs=1, random=StudyRandom(seed), clinical=COLUMNS)
    assert isinstance(built, Fusion)
    return built


def lines(*values: tuple[float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def test_what_the_network_sees_of_a_value_and_of_a_missing_one() -> None:
    seen = network().features(lines((60, 1), (math.nan, 0), (50, math.nan)))
    assert seen.tolist() == [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 1]]


def test_the_seed_alone_decides_its_weights() -> None:
    one, same, other = (state_arrays(network(seed)) for seed in (0, 0, 1))
    assert all((one[name] == same[name]).all() for name in one)
    assert (one["known.weight"] != other["known.weight"]).any()
    assert {name.partition(".")[0] for name in one} == {"images", "known", "head"}


@pytest.mark.parametrize("name", ["resnet18"])
def test_every_image_network_can_be_part_of_it(name: str) -> None:
    built = network(name=name, size_px=32).eval()
    assert built(torch.zeros(2, 1, 32, 32), lines((50, 0), (math.nan, math.nan))).shape == (2, 1)


def known_examples(count: int = 120) -> Examples:
    """Images of noise; the label is whether the patient is old, and a third of the ages is missing."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, count)
    known = np.stack([np.where(rng.random(count) < 1 / 3, np.nan, age), rng.integers(0, 2, count)], axis=1)
    images = rng.integers(0, 65536, (count, 1, 16, 16)).astype(np.uint16)
    return Examples(images, (age > 50).astype(np.int64), np.arange(count), known.astype(np.float32))


def test_it_learns_from_what_stands_beside_the_image() -> None:
    model, examples = network(), known_examples()
    done = fit(model, examples, SPEC, task=TASK, random=StudyRandom(0), device="cpu")
    logits, targets = measured_by_patient(model, examples, task=TASK, device="cpu")
    assert done.steps == 15
    assert examples.missing is not None
    known = ~examples.missing[:, 0]
    assert ((logits[known, 0] > 0) == targets[known]).mean() > 0.9


def test_a_private_gradient_is_the_gradient_of_that_patient_alone() -> None:
    model, examples = network(), known_examples(4)
    images, targets = torch.randn(4, 1, 16, 16), torch.from_numpy(examples.labels)
    (known,) = map(torch.from_numpy, examples.beside(slice(None)))
    each = gradients_of(model, TASK.loss)(images, targets, known)
    for number in range(4):
        model.zero_grad()
        one = slice(number, number + 1)
        TASK.loss(model(images[one], known[one]), targets[one]).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(each[name][number], parameter.grad, rtol=1e-4, atol=1e-5)
