"""The networks in the wheel, built by name, and their state as arrays.

What a network may be is decided here and by `ModelSpec`; how it is trained, by `client.train`.
Initial weights are drawn by numpy from the study's randomness, so they are the same bytes on every
machine. This module imports torch; whoever must stay light imports it late. MONAI gives the larger
networks (https://docs.monai.io); torch gives the norms.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from shared.clinical import Columns
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.networks.basic_cnn import BasicCnn
from shared.networks.fusion import EMBEDDING, Fusion
from shared.networks.norms import replace_batch_norms
from shared.networks.pools import MaxPool3d, replace_pools
from shared.networks.series import SEEN, SliceSeries
from shared.networks.spec import SERIES, ModelSpec
from shared.networks.vae import Vae
from shared.randomness import StudyRandom
from shared.update import Array

_DTYPES = {torch.float32: "float32", torch.int64: "int64"}


def build_model(
    model: ModelSpec, *, images: ImageSpec, outputs: int, random: StudyRandom, clinical: Columns | None = None
) -> nn.Module:
    """Build a network with the study's initial weights, on the CPU; one that takes clinical columns, if there are any.

    Raises:
        ConfigError: the network does not take this norm, or not at this image size.
    """
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are replaced below
        network = _construct(model, images=images, outputs=EMBEDDING if clinical else outputs)
        network = Fusion(network, columns=clinical, outputs=outputs) if clinical else network
    replace_pools(network)
    _initialise(network, random.child("initialise"))
    _probe(network, model, images, columns=len(clinical or ()))
    return network


def state_arrays(model: nn.Module) -> dict[str, Array]:
    """Parameters and buffers by name, as float32 and int64 arrays of their own memory.

    Raises:
        ValueError: a tensor has another dtype.
    """
    state = model.state_dict()
    odd = sorted(name for name, tensor in state.items() if tensor.dtype not in _DTYPES)
    if odd:
        raise ValueError(f"tensors that are neither float32 nor int64: {', '.join(odd)}")
    return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in state.items()}


def load_state(model: nn.Module, arrays: Mapping[str, Array]) -> None:
    """Copy a state into a model, in place, wherever the model is.

    Raises:
        ValueError: names, shapes or dtypes are not those of the model.
    """
    state = model.state_dict()
    expected = {name: (_DTYPES.get(tensor.dtype), tuple(tensor.shape)) for name, tensor in state.items()}
    found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    if expected != found:
        wrong = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        raise ValueError(f"the state does not fit the model in {len(wrong)} tensors, first {wrong[0]}")
    for name, tensor in state.items():
        tensor.copy_(torch.from_numpy(np.array(arrays[name])))


def varying_layers(model: nn.Module) -> tuple[str, ...]:
    """Layers whose gradients may differ from run to run on CUDA: pools whose windows overlap."""
    pools = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.MaxPool2d | MaxPool3d))
    return tuple(name for name, pool in pools if pool.stride != pool.kernel_size)


def _construct(model: ModelSpec, *, images: ImageSpec, outputs: int) -> nn.Module:
    if model.name == "basic_cnn":
        return BasicCnn(images=images, outputs=outputs, norm=model.norm, width=model.width)
    if model.name == "vae":
        return Vae(images=images, norm=model.norm)
    if model.name in SERIES:
        plane = ImageSpec(size_px=images.size_px)
        slices = BasicCnn(images=plane, outputs=SEEN, norm=model.norm, width=model.width)
        return SliceSeries(slices, outputs=outputs, ordered=model.name == "cnn_gru")
    if model.norm == "none":
        raise ConfigError(
            f"model.norm = none does not go with model.name = {model.name}; it takes batch, group or instance.",
            remedy="Choose another model.norm, or basic_cnn.",
        )
    network = _monai(model.name, dims=len(images.grid), channels=images.channels, outputs=outputs)
    if model.norm != "batch":
        replace_batch_norms(network, model.norm)
    return network


def _monai(name: str, *, dims: int, channels: int, outputs: int) -> nn.Module:
    from monai.networks import nets  # seconds to import

    if name == "resnet18":
        network = nets.resnet18(spatial_dims=dims, n_input_channels=channels, num_classes=outputs)
    elif name == "densenet121":
        network = nets.DenseNet121(spatial_dims=dims, in_channels=channels, out_channels=outputs)
    elif name == "unet":
        features = (16, 16, 32, 64, 128, 16)
        network = nets.BasicUNet(dims, channels, outputs, features, act="RELU", norm="BATCH", upsample="deconv")
    elif name == "segresnet":
        depth = {"blocks_down": (1, 2, 2), "blocks_up": (1, 1)}
        network = nets.SegResNet(dims, 16, channels, outputs, norm="BATCH", upsample_mode="deconv", **depth)
    else:
        network = nets.EfficientNetBN(name, False, spatial_dims=dims, in_channels=channels, num_classes=outputs)
    return network  # type: ignore[no-any-return]


def _initialise(network: nn.Module, random: StudyRandom) -> None:
    """He's uniform weights before a ReLU (He et al., ICCV 2015), zero biases; norms start as identity."""
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            values = np.full(parameter.shape, 1.0 if name.endswith("weight") else 0.0, np.float32)
        else:
            bound = math.sqrt(6.0 / math.prod(parameter.shape[1:]))
            draws = random.child(name).generator().random(tuple(parameter.shape), dtype=np.float32)
            values = (draws * np.float32(2) - np.float32(1)) * np.float32(bound)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values))


def _probe(network: nn.Module, model: ModelSpec, images: ImageSpec, *, columns: int) -> None:
    network.eval()
    known = (torch.zeros(1, columns),) if columns else ()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, *images.seen), *known)
    except (RuntimeError, ValueError):
        seen = images.patch.words if images.patch else f"images of {images.words}"
        raise ConfigError(
            f"model.name = {model.name} with norm = {model.norm} does not take {seen}.",
            remedy="Choose a larger images.size_px (or images.slices, or a larger images.patch), or another norm.",
        ) from None
    network.train()
