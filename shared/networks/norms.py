"""The norm layers that a study may choose, by name. This module imports torch."""

from torch import nn

_GROUPS = 8


def norm_layers(name: str, channels: int, *, flat: bool) -> list[nn.Module]:
    """The layer of that name after so many channels of images (flat) or volumes; none for `none`."""
    if name == "none":
        return []
    if name == "group":
        return [nn.GroupNorm(_GROUPS, channels)]
    if name == "batch":
        return [nn.BatchNorm2d(channels) if flat else nn.BatchNorm3d(channels)]
    return [(nn.InstanceNorm2d if flat else nn.InstanceNorm3d)(channels, affine=True)]


def replace_batch_norms(network: nn.Module, norm: str) -> None:
    """Put another norm in the place of each batch norm, in place.

    MONAI's own norm option leaves the batch norms in the shortcuts of its resnet18.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                flat = isinstance(child, nn.BatchNorm2d)
                setattr(parent, name, *norm_layers(norm, child.num_features, flat=flat))
