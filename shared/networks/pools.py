"""Pools in the place of those whose gradients are not deterministic on CUDA. This module imports torch."""

from torch import Tensor, nn


class MeanPool3d(nn.Module):
    """The mean of each block of 2 by 2 by 2 places, as `AvgPool3d(2)` gives it; what is left over at an end is cut off.

    The gradient of torch's own adds in no fixed order on CUDA, so torch refuses it where results are to be repeatable.

    Shapes: (batch, channels, slices, rows, columns) to the same with half of each of the last three.
    """

    def forward(self, volumes: Tensor) -> Tensor:
        """The means."""
        slices, rows, columns = (side // 2 for side in volumes.shape[2:])
        whole = volumes[:, :, : 2 * slices, : 2 * rows, : 2 * columns]
        blocks = whole.reshape(*whole.shape[:2], slices, 2, rows, 2, columns, 2)
        return blocks.mean(dim=(3, 5, 7))


def replace_mean_pools(network: nn.Module) -> None:
    """Put `MeanPool3d` in the place of each mean pool of volumes by two, in place; the names of tensors stay."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AvgPool3d) and child.kernel_size == child.stride == 2:
                setattr(parent, name, MeanPool3d())
