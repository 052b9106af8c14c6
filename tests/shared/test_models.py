import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.models import build_model, load_state, state_arrays, varying_layers
from shared.networks.pools import MaxPool3d, MeanPool3d
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom
from shared.update import pack, table_of

NORMS = ("none", "batch", "group", "instance")


def built(name: str = "basic_cnn", norm: str = "group", *, size_px: int = 28, channels: int = 1, **more: int):  # type: ignore[no-untyped-def]
    model = ModelSpec.model_validate({"name": name, "norm": norm, "width": more.pop("width", 16)})
    images = ImageSpec.model_validate({"size_px": size_px, "channels": channels, "slices": more.pop("slices", None)})
    return build_model(model, images=images, outputs=more.get("outputs", 2), random=StudyRandom(more.get("seed", 0)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("size_px", "channels"), [(16, 1), (28, 1), (33, 3), (64, 1), (96, 3), (224, 1)])
def test_the_basic_cnn_takes_any_size_and_learns_in_all_its_tensors(norm: str, size_px: int, channels: int) -> None:
    model = built(norm=norm, size_px=size_px, channels=channels)
    logits = model(torch.rand(2, channels, size_px, size_px))
    assert logits.shape == (2, 2)
    assert logits.dtype == torch.float32
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.training


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("slices", "size_px"), [(8, 16), (40, 17)])
def test_the_basic_cnn_takes_volumes(norm: str, slices: int, size_px: int) -> None:
    model = built(norm=norm, slices=slices, size_px=size_px)
    logits = model(torch.rand(2, 1, slices, size_px, size_px))
    assert logits.shape == (2, 2)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert varying_layers(model) == ()


@pytest.mark.slow
def test_monai_networks_take_volumes() -> None:
    volume = torch.rand(1, 1, 32, 32, 32)
    for name, norm in (("resnet18", "group"), ("densenet121", "batch")):
        model = built(name, norm, slices=32, size_px=32)
        assert model.eval()(volume).shape == (1, 2)
        kinds = {type(layer).__name__ for layer in model.modules()}
        assert {"Conv3d"} == kinds & {"Conv2d", "Conv3d"}
        assert not kinds & {"BatchNorm2d", "InstanceNorm2d"}
        assert ("BatchNorm3d" in kinds) == (norm == "batch")
    with pytest.raises(ConfigError, match="8 slices of 32"):
        built("densenet121", slices=8, size_px=32)


def test_large_images_do_not_make_the_hidden_layer_large() -> None:
    small, large = built(size_px=32), built(size_px=1024)
    assert small.hidden.weight.shape == large.hidden.weight.shape == (16, 64 * 4 * 4)


def test_width_scales_the_hidden_layer() -> None:
    assert built(width=100).hidden.weight.shape == (100, 64 * 3 * 3)


def test_norms_are_what_their_names_say() -> None:
    kinds = {norm: {type(layer).__name__ for layer in built(norm=norm).modules()} for norm in NORMS}
    assert "BatchNorm2d" in kinds["batch"]
    assert "GroupNorm" in kinds["group"]
    assert "InstanceNorm2d" in kinds["instance"]
    assert not kinds["none"] & {"BatchNorm2d", "GroupNorm", "InstanceNorm2d"}


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet-b0"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_monai_networks_take_their_norms(name: str, norm: str) -> None:
    model = built(name, norm, size_px=64, channels=3)
    assert model.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    layers = {type(layer).__name__ for layer in model.modules()}
    wanted = {"batch": "BatchNorm2d", "group": "GroupNorm", "instance": "InstanceNorm2d"}
    assert layers & set(wanted.values()) == {wanted[norm]}
    assert {str(a.dtype) for a in state_arrays(model).values()} <= {"float32", "int64"}


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet-b0", "unet", "segresnet"])
def test_monai_networks_refuse_to_do_without_a_norm(name: str) -> None:
    with pytest.raises(ConfigError, match=f"norm = none does not go with model.name = {name}"):
        built(name, "none", size_px=64)


@pytest.mark.parametrize("name", ["unet", "segresnet"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_networks_that_mask_answer_at_each_place(name: str, norm: str) -> None:
    model = built(name, norm, size_px=48, channels=3)
    logits = model(torch.rand(2, 3, 48, 48))
    assert logits.shape == (2, 2, 48, 48)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    layers = {type(layer).__name__ for layer in model.modules()}
    wanted = {"batch": "BatchNorm2d", "group": "GroupNorm", "instance": "InstanceNorm2d"}
    assert layers & set(wanted.values()) == {wanted[norm]}
    assert not varying_layers(model)


@pytest.mark.parametrize("name", ["unet", "segresnet"])
def test_networks_that_mask_have_three_dimensions_for_volumes(name: str) -> None:
    model = built(name, "instance", slices=16, size_px=32)
    assert model.eval()(torch.rand(1, 1, 16, 32, 32)).shape == (1, 2, 16, 32, 32)
    assert not {"Conv2d", "InstanceNorm2d"} & {type(layer).__name__ for layer in model.modules()}


def test_a_size_that_a_network_cannot_take_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="densenet121 with norm = batch does not take images of 16 x 16 px"):
        built("densenet121", "batch", size_px=16)


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = pack(state_arrays(built(seed=3)))
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert pack(state_arrays(built(seed=3))) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert pack(state_arrays(built(seed=4))) != first


def test_the_first_weights_never_change_between_machines_and_versions() -> None:
    digest = hashlib.sha256(pack(state_arrays(built(seed=0, norm="batch")))).hexdigest()
    assert digest == "f57b679f6640ac7ef363289acce8a8591e4a61297a447099b5ece8d89f86e182"


def test_weights_start_at_hes_scale_and_norms_as_identity() -> None:
    state = state_arrays(built(norm="batch", width=512))
    assert state["hidden.weight"].std() == pytest.approx(np.sqrt(2 / 576), rel=0.01)
    assert np.all(state["features.1.weight"] == 1)
    assert np.all(state["features.1.running_var"] == 1)
    assert not any(state[name].any() for name in state if name.endswith(("bias", "running_mean")))


def test_a_state_comes_back_as_it_was() -> None:
    one, other = built(norm="batch", seed=1), built(norm="batch", seed=2)
    one(torch.rand(4, 1, 28, 28))  # moves the running statistics
    state = state_arrays(one)
    load_state(other, state)
    assert pack(state_arrays(other)) == pack(state)
    assert state["features.1.num_batches_tracked"].dtype == np.int64
    assert state["features.1.num_batches_tracked"].shape == ()
    assert table_of(state) == table_of(state_arrays(other))


def test_state_arrays_are_memory_of_their_own() -> None:
    model = built()
    state = state_arrays(model)
    kept = {name: value.copy() for name, value in state.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(np.array_equal(state[name], kept[name]) for name in state)
    load_state(model, state)
    state["head.bias"][...] = 9
    assert not state_arrays(model)["head.bias"].any()


def test_a_foreign_state_is_refused_and_nothing_is_loaded() -> None:
    model = built()
    state = state_arrays(model)
    before = pack(state)
    changed = {name: value + 1 for name, value in state.items()}
    for wrong in (
        {k: v for k, v in changed.items() if k != "head.bias"},
        changed | {"extra": np.zeros(1, np.float32)},
        changed | {"head.bias": np.zeros(3, np.float32)},
        changed | {"head.bias": np.zeros(2, np.float64)},
    ):
        with pytest.raises(ValueError, match="does not fit the model in 1 tensors"):
            load_state(model, wrong)
    assert pack(state_arrays(model)) == before


def test_other_dtypes_do_not_become_state() -> None:
    with pytest.raises(ValueError, match=r"neither float32 nor int64: weight"):
        state_arrays(torch.nn.Linear(1, 1, bias=False).double())


def test_only_overlapping_pools_are_named_as_varying() -> None:
    assert varying_layers(built(size_px=96)) == ()
    assert varying_layers(built("resnet18", "batch", size_px=64)) == ("maxpool",)


@pytest.mark.parametrize("sides", [(8, 8, 8), (5, 6, 7)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (MeanPool3d(), torch.nn.AvgPool3d(2)),
        (MaxPool3d((2, 2, 2), (2, 2, 2), (0, 0, 0)), torch.nn.MaxPool3d(2)),
        (MaxPool3d((1, 2, 2), (1, 2, 2), (0, 0, 0)), torch.nn.MaxPool3d((1, 2, 2))),
        (MaxPool3d((3, 3, 3), (2, 2, 2), (1, 1, 1)), torch.nn.MaxPool3d(3, 2, 1)),
    ],
    ids=["mean", "blocks", "in-slices", "overlapping"],
)
def test_our_pools_of_volumes_are_torchs_in_values_and_gradients(
    ours: torch.nn.Module, theirs: torch.nn.Module, sides: tuple[int, int, int]
) -> None:
    volumes = torch.randint(-2, 3, (2, 3, *sides), generator=torch.manual_seed(0)).float().requires_grad_()  # many ties
    here, there = ours(volumes), theirs(volumes)
    assert torch.allclose(here, there, atol=1e-6)
    weights = torch.rand(here.shape)
    slopes = [torch.autograd.grad((said * weights).sum(), volumes)[0] for said in (here, there)]
    assert torch.allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize("name", ["basic_cnn", "resnet18", "densenet121", "unet"])
def test_no_network_of_volumes_has_a_pool_that_cuda_refuses(name: str) -> None:
    model = built(name, "batch", size_px=32, slices=32)
    layers = list(model.modules())
    assert any(isinstance(layer, MaxPool3d) for layer in layers)
    assert not any(isinstance(layer, torch.nn.MaxPool3d | torch.nn.AvgPool3d) for layer in layers)


def test_the_basic_cnn_does_not_import_monai() -> None:
    code = (
        "import sys; from shared.models import build_model; from shared.images import *;"
        "from shared.networks.spec import *;"
        "from shared.randomness import StudyRandom;"
        "build_model(ModelSpec(), images=ImageSpec(), outputs=1, random=StudyRandom(0));"
        "sys.exit('monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
