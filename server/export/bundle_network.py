"""The networks of the wheel as MONAI's configuration describes them: of torch's and MONAI's parts alone.

A bundle is to run where no Wardround is installed, so that a network is spelled out here, under the names that the
tensors have there. Nothing but a test keeps the two alike: it builds both and compares. What joins a series of slices
has loops that no configuration spells: the bundle carries its module of the wheel as it is, a plain file that imports
torch alone, and runs it.
"""

import inspect
import math
from typing import Any

from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.model_card import Inputs
from shared.networks import series
from shared.networks.spec import SERIES

Config = dict[str, Any]
_SCRIPT = "scripts/series.py"
_CHANNELS, _GRID, _GROUPS = (16, 32, 64), 4, 8  # as in shared/networks/
_UNET = {"features": [16, 16, 32, 64, 128, 16], "act": "RELU", "norm": "BATCH", "upsample": "deconv"}
_SEGRESNET = {
    **{"init_filters": 16, "norm": "BATCH", "upsample_mode": "deconv", "blocks_down": [1, 2, 2], "blocks_up": [1, 1]},
}
_MONAI: dict[str, tuple[str, str, str, Config]] = {
    "resnet18": ("monai.networks.nets.resnet18", "n_input_channels", "num_classes", {}),
    "densenet121": ("monai.networks.nets.DenseNet121", "in_channels", "out_channels", {}),
    "efficientnet-b0": (
        *("monai.networks.nets.EfficientNetBN", "in_channels", "num_classes"),
        {"model_name": "efficientnet-b0", "pretrained": False},
    ),
    "unet": ("monai.networks.nets.BasicUNet", "in_channels", "out_channels", _UNET),
    "segresnet": ("monai.networks.nets.SegResNet", "in_channels", "out_channels", _SEGRESNET),
}
_NORMS = {
    "group": f"torch.nn.GroupNorm({_GROUPS}, m.num_features)",
    "instance": "torch.nn.InstanceNorm{dims}d(m.num_features, affine=True)",
}


def network_of(inputs: Inputs) -> Config:
    """The entries of a configuration that define `network_def`.

    Expressions need `torch` and `collections` imported; those of a series `pathlib`, `runpy` and `bundle_root`, too.

    Raises:
        ConfigError: this network cannot be spelled out.
    """
    if inputs.model.name == "basic_cnn":
        layers, network = _basic(
            inputs.images, norm=inputs.model.norm, width=inputs.model.width, outputs=inputs.task.outputs
        )
        return {"features": layers, "network_def": network}
    if inputs.model.name in SERIES:
        return _series(inputs)
    if inputs.model.name not in _MONAI:
        raise ConfigError(
            f"The network {inputs.model.name} cannot be written as a MONAI bundle.", remedy="Use --format safetensors."
        )
    target, channels, outputs, more = _MONAI[inputs.model.name]
    dims = len(inputs.images.grid)
    built = {"_target_": target, "spatial_dims": dims, channels: inputs.images.channels, outputs: inputs.task.outputs}
    if inputs.model.norm == "batch":
        return {"network_def": built | more}
    return {"network_built": built | more, "network_def": _swapped(_NORMS[inputs.model.norm].format(dims=dims), dims)}


def scripts_of(name: str) -> dict[str, bytes]:
    """The code that a bundle of such a network carries, by path."""
    return {_SCRIPT: inspect.getsource(series).encode()} if name in SERIES else {}


def _series(inputs: Inputs) -> Config:
    plane = ImageSpec(size_px=inputs.images.size_px)
    layers, slices = _basic(plane, norm=inputs.model.norm, width=inputs.model.width, outputs=series.SEEN)
    joined = f"runpy.run_path(str(pathlib.Path(@bundle_root, '{_SCRIPT}')))['SliceSeries']"
    how = f"outputs={inputs.task.outputs}, ordered={inputs.model.name == 'cnn_gru'}"
    return {"features": layers, "slices": slices, "network_def": f"${joined}(@slices, {how})"}


def _swapped(norm: str, dims: int) -> str:
    """The network after each of its batch norms was replaced; MONAI's own option leaves some of resnet18's."""
    norms = f"[(n, m) for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm{dims}d)]"
    swap = f"setattr(net.get_submodule(n.rpartition('.')[0]), n.rpartition('.')[2], {norm})"
    return f"$(lambda net: [net, [{swap} for n, m in {norms}]][0])(@network_built)"


def _basic(images: ImageSpec, *, norm: str, width: int, outputs: int) -> tuple[list[Config], str]:
    """`features`, and the expression of the network that they begin."""
    layers: list[Config] = []
    before: int = images.channels
    dims = len(images.grid)
    for after in _CHANNELS:
        convolution = {"_target_": f"torch.nn.Conv{dims}d", "in_channels": before, "out_channels": after}
        layers.append(convolution | {"kernel_size": 3, "padding": 1})
        layers += _norm(norm, after, dims)
        layers += [{"_target_": "torch.nn.ReLU"}, _pool([2] * dims)]
        before = after
    sides = [side // 2 ** len(_CHANNELS) for side in images.grid]
    last = [math.ceil(side / _GRID) for side in sides]
    layers += [_pool(last)] if max(last) > 1 else []
    places = before * math.prod(side // by for side, by in zip(sides, last, strict=True))
    parts = (
        "('features', torch.nn.Sequential(*@features)), ('flatten', torch.nn.Flatten()),"
        f" ('hidden', torch.nn.Linear({places}, {width})), ('active', torch.nn.ReLU()),"
        f" ('head', torch.nn.Linear({width}, {outputs}))"
    )
    return layers, f"$torch.nn.Sequential(collections.OrderedDict([{parts}]))"


def _norm(name: str, channels: int, dims: int) -> list[Config]:
    norms: dict[str, Config] = {
        "batch": {"_target_": f"torch.nn.BatchNorm{dims}d", "num_features": channels},
        "group": {"_target_": "torch.nn.GroupNorm", "num_groups": _GROUPS, "num_channels": channels},
        "instance": {"_target_": f"torch.nn.InstanceNorm{dims}d", "num_features": channels, "affine": True},
    }
    return [norms[name]] if name in norms else []


def _pool(size: list[int]) -> Config:
    return {"_target_": f"torch.nn.MaxPool{len(size)}d", "kernel_size": size}
