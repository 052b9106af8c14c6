import numpy as np
import pytest
import torch

from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.evaluate import evaluate, measured_by_patient
from shared.images import ImageSpec
from shared.models import build_model, state_arrays
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.update import pack

TASK = task_for(TaskSpec(classes=("pneumonia",)))


def images(n: int, *, per_patient: int = 1, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 65536, (n, 1, 16, 16), dtype=np.uint16)
    return Examples(pixels, rng.integers(0, 2, n), np.arange(n) // per_patient)


def network(norm: str = "group") -> torch.nn.Module:
    model = ModelSpec.model_validate({"norm": norm, "width": 8})
    return build_model(model, images=ImageSpec(size_px=16), outputs=1, random=StudyRandom(0))


def test_one_row_per_patient_is_the_mean_over_the_images() -> None:
    model, examples = network(), images(12, per_patient=3)
    logits, targets = measured_by_patient(model, examples, task=TASK, device="cpu")
    with torch.no_grad():
        single = model(to_network(examples.images)).numpy()
    assert logits.dtype == np.float32
    assert logits == pytest.approx(single.reshape(4, 3).mean(axis=1, keepdims=True), abs=1e-6)
    assert targets.tolist() == examples.labels.reshape(4, 3).max(axis=1).tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 7, 100])
def test_the_batch_size_does_not_matter(batch_size: int) -> None:
    model, examples = network("batch"), images(10)
    whole, _ = measured_by_patient(model, examples, task=TASK, device="cpu", batch_size=10)
    parts, _ = measured_by_patient(model, examples, task=TASK, device="cpu", batch_size=batch_size)
    assert parts == pytest.approx(whole, abs=1e-5)


def test_scoring_leaves_the_model_as_it_was() -> None:
    model = network("batch")
    before = pack(state_arrays(model))
    measured_by_patient(model, images(8), task=TASK, device="cpu")
    assert pack(state_arrays(model)) == before
    assert model.training
    model.eval()
    measured_by_patient(model, images(8), task=TASK, device="cpu")
    assert not model.training


def test_a_score_names_the_model_and_the_split() -> None:
    score = evaluate(network(), images(20, per_patient=2), task=TASK, device="cpu", model_digest="0" * 64, split="test")
    assert score.model_digest == "0" * 64
    assert score.split == "test"
    assert score.patients == 10
    assert sum(score.statistics["histogram"]) == 10
    assert {"accuracy", "loss"} <= set(score.figures)


def test_an_empty_split_is_scored_as_nobody() -> None:
    score = evaluate(network(), images(0), task=TASK, device="cpu", model_digest="0" * 64, split="validation")
    assert score.patients == 0
    assert score.figures == {}


def test_findings_are_scored_per_label() -> None:
    task = task_for(TaskSpec(mode="multilabel", classes=("effusion", "mass")))
    labels = np.array([[1, 0], [0, 1], [0, 0], [1, 1]])
    examples = Examples(images(4).images, labels, np.array([0, 0, 1, 2]))
    model = build_model(ModelSpec(width=8), images=ImageSpec(size_px=16), outputs=2, random=StudyRandom(0))
    logits, targets = measured_by_patient(model, examples, task=task, device="cpu")
    assert logits.shape == (3, 2)
    assert targets.tolist() == [[1, 1], [0, 0], [1, 1]]
