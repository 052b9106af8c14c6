"""The site's side of a method: what goes into a round and what comes out of it."""

import numpy as np
import pytest
import torch
from torch import nn

from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.methods import Layers, Scaffold
from client.work.train import fit
from shared.models import state_arrays
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

GLOBAL = {"conv": np.array([1.0, 2.0], np.float32)}
OWN = {"norm": np.array([5.0], np.float32), "count": np.array(7, np.int64)}


def test_without_own_tensors_the_whole_state_travels_and_nothing_is_kept() -> None:
    method = Layers({})
    assert method.begin(GLOBAL, {}) == GLOBAL
    change, kept = method.end(GLOBAL, {}, {"conv": np.array([1.5, 2.0], np.float32)}, steps=1)
    assert {name: value.tolist() for name, value in change.items()} == {"conv": [0.5, 0.0]}
    assert kept == {}


def test_own_tensors_go_on_where_they_were_and_do_not_travel() -> None:
    method = Layers(OWN)
    assert method.begin(GLOBAL, {}) == {**GLOBAL, **OWN}
    trained = {
        "conv": np.array([0.0, 2.0], np.float32),
        "norm": np.array([6.0], np.float32),
        "count": np.array(9, np.int64),
    }
    change, kept = method.end(GLOBAL, {}, trained, steps=1)
    assert {name: value.tolist() for name, value in change.items()} == {"conv": [-1.0, 0.0]}
    assert {name: value.tolist() for name, value in kept.items()} == {"norm": [6.0], "count": 9}
    assert method.begin(GLOBAL, kept)["norm"].tolist() == [6.0]


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="tensors of the incoming one"):
        Layers({}).end(GLOBAL, {}, {"conv": np.zeros(3, np.float32)}, steps=1)


# ------------------------------------------------------------------ SCAFFOLD

RATE, STEPS = 0.1, 4
INCOMING = {"w": np.array([1.0, 2.0], np.float32), "control/w": np.array([0.5, -0.5], np.float32)}
CONTROL = {"control/w": np.array([0.25, 1.0], np.float32)}


def test_scaffold_corrects_by_the_difference_of_the_control_variates() -> None:
    method = Scaffold(learning_rate=RATE)
    assert method.begin(INCOMING, CONTROL).keys() == {"w"}
    assert method.correction(INCOMING, CONTROL)["w"].tolist() == [0.25, -1.5]
    assert method.correction(INCOMING, {})["w"].tolist() == [0.5, -0.5]


def test_the_new_control_variate_is_that_of_option_two() -> None:
    method, trained = Scaffold(learning_rate=RATE), {"w": np.array([0.8, 2.6], np.float32)}
    change, kept = method.end(INCOMING, CONTROL, trained, steps=STEPS)
    c, own = INCOMING["control/w"].astype(float), CONTROL["control/w"].astype(float)
    expected = own - c + (INCOMING["w"].astype(float) - trained["w"].astype(float)) / (STEPS * RATE)
    np.testing.assert_allclose(kept["control/w"], expected, rtol=1e-6)
    np.testing.assert_allclose(change["control/w"], expected - own, rtol=1e-6)
    np.testing.assert_allclose(change["w"], [-0.2, 0.6], rtol=1e-5)
    assert {value.dtype for value in [*change.values(), *kept.values()]} == {np.dtype(np.float32)}


def test_a_round_without_a_step_teaches_nothing() -> None:
    change, kept = Scaffold(learning_rate=RATE).end(INCOMING, CONTROL, {"w": INCOMING["w"]}, steps=0)
    assert change["control/w"].tolist() == [0, 0]
    assert kept["control/w"].tolist() == CONTROL["control/w"].tolist()


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.2, -0.1, 0.4, 0.3]]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.w.T


def test_corrected_steps_follow_the_papers_equations() -> None:
    """Algorithm 1, lines 8 to 12, in float64 beside the real trainer."""
    pixels = np.random.default_rng(1).integers(0, 60000, (6, 1, 2, 2), dtype=np.uint16)
    labels = np.array([0, 1, 0, 1, 1, 0])
    examples = Examples(pixels, labels, np.arange(6))
    spec = TrainingSpec(algorithm="scaffold", learning_rate=RATE, momentum=0.0, batch_size=6, steps_per_round=STEPS)
    model = _Linear()
    state = state_arrays(model)
    c, own = np.array([[0.3, -0.2, 0.1, 0.0]], np.float32), np.array([[-0.1, 0.1, 0.2, 0.3]], np.float32)
    incoming, kept, method = {**state, "control/w": c}, {"control/w": own}, Scaffold(learning_rate=RATE)
    done = fit(
        model,
        examples,
        spec,
        task=task_for(TaskSpec(classes=("bright",))),
        random=StudyRandom(0),
        device="cpu",
        correction=method.correction(incoming, kept),
    )
    change, new = method.end(incoming, kept, state_arrays(model), steps=done.steps)

    images = to_network(pixels).flatten(1).double().numpy()
    weight = state["w"].astype(np.float64)
    for _ in range(STEPS):
        errors = 1 / (1 + np.exp(-images @ weight.T)) - labels[:, None]
        weight = weight - RATE * (errors.T @ images / 6 - own + c)
    np.testing.assert_allclose(change["w"], weight - state["w"], atol=1e-6)
    expected = own - c + (state["w"] - weight) / (STEPS * RATE)
    np.testing.assert_allclose(new["control/w"], expected, atol=1e-5)
