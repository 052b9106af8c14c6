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
    assert travelling(model, study.training).keys() == state_arrays(model).keys()
    assert own_tensors(model, None) == frozenset()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_norm_layers_stay_with_all_they_have(name: str, norm: str) -> None:
    study = asked("fedbn", name=name, norm=norm)
    model = build(study)
    own, sent = own_tensors(model, study.training), travelling(model, study.training)
    assert own | sent.keys() == state_arrays(model).keys()
    assert not own & sent.keys()
    assert own
    assert not any(word in tensor for tensor in sent for word in ("running_", "num_batches"))
    kernels = {k for k, v in state_arrays(model).items() if v.ndim > 1}
    assert kernels <= sent.keys()


def test_the_start_model_of_the_server_is_what_travels() -> None:
    study = asked("fedbn")
    assert start_state(study).keys() == travelling(build(study), study.training).keys()
    assert "head.weight" in start_state(study)
    assert np.issubdtype(start_state(study)["head.weight"].dtype, np.floating)


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
