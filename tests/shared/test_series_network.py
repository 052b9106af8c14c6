"""Networks that read a volume slice by slice."""

import hashlib

import pytest
import torch

from client.work.private_training import gradients_of
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.models import build_model, state_arrays, varying_layers
from shared.networks.series import Attention, SliceSeries
from shared.networks.spec import SERIES, ModelSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec, parse_study
from shared.tasks import task_for
from shared.update import pack

VOLUMES = ImageSpec(size_px=16, slices=8)
TASK = task_for(TaskSpec(classes=("lesion",)))
STUDY = """\
[study]
name = "series"
[task]
classes = ["lesion"]
[images]
size_px = 16
{slices}
[model]
name = "{name}"
[training]
steps_per_round = 1
"""


def built(name: str, norm: str = "group", *, seed: int = 0) -> SliceSeries:
    model = ModelSpec.model_validate({"name": name, "norm": norm, "width": 8})
    network = build_model(model, images=VOLUMES, outputs=1, random=StudyRandom(seed))
    assert isinstance(network, SliceSeries)
    return network


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("norm", ["none", "batch", "group", "instance"])
def test_they_take_volumes_with_every_norm_and_learn_in_all_their_tensors(name: str, norm: str) -> None:
    model = built(name, norm)
    logits = model(torch.randn(2, 1, 8, 16, 16))
    assert logits.shape == (2, 1)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in _moved(model, norm))
    assert varying_layers(model) == ()


def _moved(model: SliceSeries, norm: str) -> list[torch.nn.Parameter]:
    """Parameters that decide the logits: a norm undoes the bias before it, and a softmax what all slices share."""
    undone = (".bias",) if norm != "none" else ("joined.share.bias",)
    return [parameter for name, parameter in model.named_parameters() if not name.endswith(undone)]


@pytest.mark.parametrize(("name", "ordered"), [("cnn_gru", True), ("cnn_attention", False)])
def test_only_the_recurrent_unit_knows_the_order_of_the_slices(name: str, ordered: bool) -> None:
    model, volumes = built(name).eval(), torch.randn(3, 1, 8, 16, 16)
    mixed = volumes[:, :, torch.randperm(8)]
    assert torch.allclose(model(volumes), model(mixed), atol=1e-5) is not ordered


def test_attention_can_give_all_its_weight_to_one_slice() -> None:
    joined, seen = Attention(4), torch.zeros(1, 8, 4)
    seen[0, 5] = torch.tensor([50.0, 1, 2, 3])
    with torch.no_grad():
        for layer in (joined.content, joined.gate):
            layer.weight.zero_()[:, 0] = 1.0
        joined.share.weight.fill_(10.0)
    assert torch.allclose(joined(seen)[0], seen[0, 5])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("cnn_gru", "a9c72622b21a6376b393446b1f6f8a6fa0f9cab4cee79623db6823a4803c3008"),
        ("cnn_attention", "b829e180aff4dc3e1e47a473046bb44c9583d079d927b81050293234c4a85d23"),
    ],
)
def test_the_seed_alone_decides_the_first_weights_on_every_machine(name: str, digest: str) -> None:
    assert hashlib.sha256(pack(state_arrays(built(name)))).hexdigest() == digest
    assert pack(state_arrays(built(name, seed=1))) != pack(state_arrays(built(name)))


@pytest.mark.parametrize("name", SERIES)
def test_a_private_gradient_is_the_gradient_of_that_volume_alone(name: str) -> None:
    model, volumes, targets = built(name), torch.randn(3, 1, 8, 16, 16), torch.tensor([0, 1, 1])
    each = gradients_of(model, TASK.loss)(volumes, targets)
    for number in range(3):
        model.zero_grad()
        one = slice(number, number + 1)
        TASK.loss(model(volumes[one]), targets[one]).backward()
        for parameter_name, parameter in model.named_parameters():
            assert torch.allclose(parameter.grad, each[parameter_name][number], atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SERIES)
def test_a_study_of_single_images_has_no_series(name: str) -> None:
    assert parse_study(STUDY.format(name=name, slices="slices = 8")).model.name == name
    with pytest.raises(ConfigError, match=rf"model.name = {name} reads a volume slice by slice"):
        parse_study(STUDY.format(name=name, slices=""))
    with pytest.raises(ConfigError, match="segmentation goes with"):
        parse_study(STUDY.format(name=name, slices="slices = 8").replace("[task]", '[task]\nkind = "segmentation"'))
