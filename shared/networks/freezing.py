"""Freezes the backbone of a network, and trains what is not frozen. This module imports torch.

A frozen layer is in evaluation while the rest trains: its dropout is off, and a batch norm keeps the statistics that
it came with, so that what it makes of an image is the same in every step, at every site.
"""

from torch import nn

from shared.backbone import BackboneSpec, of_head

_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def freeze(network: nn.Module, backbone: BackboneSpec | None, *, name: str) -> None:
    """Take from the backbone of a network, in place, that it can be trained, if it is frozen."""
    if backbone is None or not backbone.frozen:
        return
    for parameter_name, parameter in network.named_parameters():
        parameter.requires_grad_(of_head(parameter_name, name))


def start_training(network: nn.Module) -> nn.Module:
    """The network in training, but for layers whose parameters are all frozen."""
    network.train()
    for layer in network.modules():
        if _frozen(layer):
            layer.eval()
    return network


def mixes_batches(network: nn.Module) -> bool:
    """Whether a layer that trains makes of an image something that depends on the others of its batch."""
    norms = (layer for layer in network.modules() if isinstance(layer, _BATCH_NORMS))
    return not all(_frozen(layer) for layer in norms)


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """By name, those that are not frozen."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def slower_parameters(network: nn.Module, backbone: BackboneSpec | None, *, name: str) -> dict[str, float]:
    """By parameter, the factor on the learning rate where it is not 1; none of what is frozen."""
    if backbone is None or backbone.rate in (0, 1):
        return {}
    return {k: backbone.rate for k, _ in network.named_parameters() if not of_head(k, name)}


def _frozen(layer: nn.Module) -> bool:
    """Whether it has parameters, and none that trains."""
    parameters = list(layer.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
