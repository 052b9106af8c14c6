"""The networks of the wheel as MONAI's configuration describes them: of torch's and MONAI's parts alone.

A bundle is to run where no Wardround is installed, so that a network is spelled out here, under the names that the
tensors have there. Nothing but a test keeps the two alike: it builds both and compares.
"""

import math
from typing import Any

from shared.errors import ConfigError
from shared.model_card import Inputs

Config = dict[str, Any]
_CHANNELS, _GRID, _GROUPS = (16, 32, 64), 4, 8  # as in shared/networks/
_MONAI = {
    "resnet18": ("monai.networks.nets.resnet18", "n_input_channels", "num_classes", {}),
    "densenet121": ("monai.networks.nets.DenseNet121", "in_channels", "out_channels", {}),
    "efficientnet-b0": (
        *("monai.networks.nets.EfficientNetBN", "in_channels", "num_classes"),
        {"model_name": "efficientnet-b0", "pretrained": False},
    ),
}
_NORMS = {
    "group": f"torch.nn.GroupNorm({_GROUPS}, m.num_features)",
    "instance": "torch.nn.InstanceNorm2d(m.num_features, affine=True)",
}


def network_of(inputs: Inputs) -> Config:
    """The entries of a configuration that define `network_def`; expressions need `torch` and `collections` imported.

    Raises:
        ConfigError: this network cannot be spelled out.
    """
    if inputs.model.name == "basic_cnn":
        return _basic(inputs)
    if inputs.model.name not in _MONAI:
        raise ConfigError(
            f"The network {inputs.model.name} cannot be written as a MONAI bundle.", remedy="Use --format safetensors."
        )
    target, channels, outputs, more = _MONAI[inputs.model.name]
    built = {"_target_": target, "spatial_dims": 2, channels: inputs.images.channels, outputs: inputs.task.outputs}
    if inputs.model.norm == "batch":
        return {"network_def": built | more}
    return {"network_built": built | more, "network_def": _swapped(_NORMS[inputs.model.norm])}


def _swapped(norm: str) -> str:
    """The network after each of its batch norms was replaced; MONAI's own option leaves some of resnet18's."""
    norms = "[(n, m) for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]"
    swap = f"setattr(net.get_submodule(n.rpartition('.')[0]), n.rpartition('.')[2], {norm})"
    return f"$(lambda net: [net, [{swap} for n, m in {norms}]][0])(@network_built)"


def _basic(inputs: Inputs) -> Config:
    layers: list[Config] = []
    before: int = inputs.images.channels
    for after in _CHANNELS:
        layers.append({"_target_": "torch.nn.Conv2d", "in_channels": before, "out_channels": after} | _kernel(3, 1))
        layers += _norm(inputs.model.norm, after)
        layers += [{"_target_": "torch.nn.ReLU"}, _pool(2)]
        before = after
    side = inputs.images.size_px // 2 ** len(_CHANNELS)
    last = math.ceil(side / _GRID)
    layers += [_pool(last)] if last > 1 else []
    width, outputs = inputs.model.width, inputs.task.outputs
    places = before * (side // last) ** 2
    parts = (
        "('features', torch.nn.Sequential(*@features)), ('flatten', torch.nn.Flatten()),"
        f" ('hidden', torch.nn.Linear({places}, {width})), ('active', torch.nn.ReLU()),"
        f" ('head', torch.nn.Linear({width}, {outputs}))"
    )
    return {"features": layers, "network_def": f"$torch.nn.Sequential(collections.OrderedDict([{parts}]))"}


def _norm(name: str, channels: int) -> list[Config]:
    norms: dict[str, Config] = {
        "batch": {"_target_": "torch.nn.BatchNorm2d", "num_features": channels},
        "group": {"_target_": "torch.nn.GroupNorm", "num_groups": _GROUPS, "num_channels": channels},
        "instance": {"_target_": "torch.nn.InstanceNorm2d", "num_features": channels, "affine": True},
    }
    return [norms[name]] if name in norms else []


def _kernel(size: int, padding: int) -> Config:
    return {"kernel_size": size, "padding": padding}


def _pool(size: int) -> Config:
    return {"_target_": "torch.nn.MaxPool2d", "kernel_size": size}
