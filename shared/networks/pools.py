"""Pools of volumes in the place of those whose gradients torch does not take deterministically on CUDA.

Torch's own add gradients in no fixed order there, and where results are to be repeatable torch refuses them: the mean
always, the maximum before torch 2.13. These give the same values. This module imports torch.
"""

from torch import Tensor, nn
from torch.nn import functional

_Three = tuple[int, int, int]  # along slices, rows and columns


class MeanPool3d(nn.Module):
    """The mean of each block of 2 by 2 by 2 places, as `AvgPool3d(2)` has it; what is left over at an end is cut off.

    Shapes: (batch, channels, slices, rows, columns) to the same with half of each of the last three.
    """

    def forward(self, volumes: Tensor) -> Tensor:
        """The means."""
        slices, rows, columns = (side // 2 for side in volumes.shape[2:])
        whole = volumes[:, :, : 2 * slices, : 2 * rows, : 2 * columns]
        blocks = whole.reshape(*whole.shape[:2], slices, 2, rows, 2, columns, 2)
        return blocks.mean(dim=(3, 5, 7))


class MaxPool3d(nn.Module):
    """The maximum in a window, as torch's layer of this name has it: first in each slice, then over slices.

    Where a window has its maximum twice, the same place gets the gradient as there.

    Shapes: (batch, channels, slices, rows, columns) to the same with fewer of the last three.

    Args:
        kernel_size, stride, padding: of the window.
    """

    def __init__(self, kernel_size: _Three, stride: _Three, padding: _Three) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, volumes: Tensor) -> Tensor:
        """The maxima."""
        (deep, *flat), (step, *steps), (edge, *edges) = self.kernel_size, self.stride, self.padding
        planes = functional.max_pool2d(volumes.flatten(0, 1), flat, steps, edges)
        lines = functional.max_pool2d(planes.flatten(2)[:, None], (deep, 1), (step, 1), (edge, 0))
        return lines.reshape(*volumes.shape[:2], -1, *planes.shape[2:])


def replace_pools(network: nn.Module) -> None:
    """Put ours in the place of each pool of volumes, in place; the names of tensors stay."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AvgPool3d) and child.kernel_size == child.stride == 2:
                setattr(parent, name, MeanPool3d())
            elif isinstance(child, nn.MaxPool3d):
                setattr(parent, name, MaxPool3d(*map(_three, (child.kernel_size, child.stride, child.padding))))


def _three(size: int | tuple[int, ...]) -> _Three:
    one, two, three = (size,) * 3 if isinstance(size, int) else size
    return one, two, three
