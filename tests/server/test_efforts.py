"""How far local work goes: what real SGD does under a constant gradient, and FedNova's promise that follows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from server.aggregate import fold
from server.efforts import effort, efforts_of
from server.moments import Moments
from server.optimizers import FedAvg
from shared.training import TrainingSpec
from shared.update import PackedFile, join, pack

RATE = 0.05


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 300])
def test_the_effort_is_how_far_sgd_moves_under_a_constant_gradient(steps: int, momentum: float) -> None:
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weight], lr=RATE, momentum=momentum)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        sgd.step()
    assert effort(steps, momentum=momentum) == pytest.approx(-weight.item() / RATE, rel=1e-12)


def asked(**fields: object) -> TrainingSpec:
    return TrainingSpec.model_validate({"epochs_per_round": 1, "momentum": 0.0} | fields)


def test_only_fednova_normalises() -> None:
    assert efforts_of(None, [1, 2]) is None
    assert efforts_of(asked(), [1, 2]) is None
    assert efforts_of(asked(algorithm="fednova"), [1, 2]) == (1, 2)
    assert efforts_of(asked(algorithm="fednova", momentum=0.5), [1, 2]) == (1, 2.5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_an_optimizer_whose_effort_is_not_known_is_refused(optimizer: str) -> None:
    with pytest.raises(ValueError, match="fednova goes with optimizer = sgd"):
        asked(algorithm="fednova", optimizer=optimizer)


# ------------------------------------------------------------------ the whole method


OPTIMA, EXAMPLES, STEPS = (0.0, 1.0), (100, 100), (2, 20)  # of |w - optimum|^2 / 2 at each site


def local(start: float, optimum: float, steps: int, momentum: float) -> float:
    """How far a site's SGD moves the weight."""
    weight, velocity = start, 0.0
    for _ in range(steps):
        velocity = momentum * velocity + (weight - optimum)
        weight -= 0.01 * velocity
    return weight - start


def converged(folder: Path, momentum: float, algorithm: str) -> float:
    """Where many rounds lead two sites with as many images, one of which takes ten times the steps."""
    state = np.zeros(1, np.float32)
    efforts = efforts_of(asked(algorithm=algorithm, momentum=momentum), STEPS)
    for number in range(1, 200):
        (folder / "model").write_bytes(pack({"w": state}))
        model, updates = PackedFile(folder / "model"), []
        for site, (optimum, steps) in enumerate(zip(OPTIMA, STEPS, strict=True)):
            change = np.array([local(float(state[0]), optimum, steps, momentum)], np.float32)
            (folder / f"site-{site}").write_bytes(pack({"w": change}))
            updates.append((EXAMPLES[site], PackedFile(folder / f"site-{site}")))
        with Moments(folder / "none", kinds=(), tensors=(), number=number) as nothing:
            state = join(model.table(), FedAvg().step(model, fold(updates, model, efforts=efforts), nothing))["w"]
    return float(state[0])


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_site_that_takes_more_steps_does_not_pull_further(tmp_path: Path, momentum: float) -> None:
    """The best weight of both sites together is 1/2; plain averages end near the busier site's own optimum."""
    assert converged(tmp_path, momentum, "fedavg") > 0.85
    assert converged(tmp_path, momentum, "fednova") == pytest.approx(0.5, abs=0.1)
