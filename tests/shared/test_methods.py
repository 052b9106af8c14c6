"""What of a model travels: everything, or all but the norm layers."""

import numpy as np
import pytest
from lone_site import a_study

from server.launch import start_state
from shared.methods import own_tensors, travelling
from shared.models import build_model, state_arrays
from shared.randomness import StudyRandom
from shared.study import Study

NETWORKS = ("basic_cnn", "resnet18", "densenet121", "efficientnet-b0")


def asked(algorithm: str, *, name: str = "basic_cnn", norm: str = "batch") -> Study:
    training = {"steps_per_round": 1, "algorithm": algorithm}
    return a_study(images={"size_px": 64}, model={"name": name, "norm": norm, "width": 8}, training=training)


def build(study: Study):  # type: ignore[no-untyped-def]
    return build_model(study.model, images=study.images, outputs=study.task.outputs, random=StudyRandom(0))


@pytest.mark.parametrize("algorithm", ["fedavg", "fednova"])
def test_every_tensor_travels(algorithm: str) -> None:
    study = asked(algorithm)
    model = build(study)
    assert own_tensors(model, study.training) == frozenset()
    assert travelling(model, study).keys() == state_arrays(model).keys()
    assert own_tensors(model, None) == frozenset()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_norm_layers_stay_with_all_they_have(name: str, norm: str) -> None:
    study = asked("fedbn", name=name, norm=norm)
    model = build(study)
    own, sent = own_tensors(model, study.training), travelling(model, study)
    assert own | sent.keys() == state_arrays(model).keys()
    assert not own & sent.keys()
    assert own
    assert not any(word in tensor for tensor in sent for word in ("running_", "num_batches"))
    kernels = {k for k, v in state_arrays(model).items() if v.ndim > 1}
    assert kernels <= sent.keys()


def test_the_start_model_of_the_server_is_what_travels() -> None:
    study = asked("fedbn")
    assert start_state(study).keys() == travelling(build(study), study).keys()
    assert "head.weight" in start_state(study)
    assert np.issubdtype(start_state(study)["head.weight"].dtype, np.floating)


def test_scaffold_sends_a_control_variate_beside_each_parameter() -> None:
    training = {"steps_per_round": 1, "algorithm": "scaffold", "momentum": 0.0}
    study = a_study(model={"norm": "batch", "width": 8}, training=training)
    model, state = build(study), start_state(study)
    controls = {name.removeprefix("control/"): value for name, value in state.items() if name.startswith("control/")}
    assert controls.keys() == dict(model.named_parameters()).keys()
    assert {name: value.shape for name, value in controls.items()} == {name: state[name].shape for name in controls}
    assert not any(value.any() for value in controls.values())
    assert state.keys() - {f"control/{name}" for name in controls} == state_arrays(model).keys()


@pytest.mark.parametrize("changes", [{}, {"momentum": 0.9}, {"momentum": 0.0, "optimizer": "adam"}])
def test_scaffold_with_another_optimizer_than_plain_sgd_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="scaffold goes with optimizer = sgd and momentum = 0"):
        a_study(training={"steps_per_round": 1, "algorithm": "scaffold", **changes})


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ({"norm": "none"}, "has no such layers"),
        ({"norm": "batch", "start_sha256": "a" * 64}, "starts from the seed"),
    ],
)
def test_fedbn_without_own_norm_layers_is_refused(model: dict[str, str], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        a_study(model=model, training={"steps_per_round": 1, "algorithm": "fedbn"})
