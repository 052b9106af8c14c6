"""What a network says of whole images: at once, or of those that it sees in patches window by window.

Windows slide as MONAI's SlidingWindowInferer has them, and a bundle names the same one. The windows alone are on the
device, and the whole on the CPU, so that the device's memory does not grow with the images.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from shared.patch import PatchSpec

Infer = Callable[..., Tensor]


def inferer(patch: PatchSpec | None, *, device: torch.device | str) -> Infer:
    """What brings images, and what stands beside them, through a network that is on the device.

    Returns:
        A function of the network, (n, channels, *size) float32 on the CPU and what it takes beside them; it gives
        what the network says, float32 on the CPU.
    """

    def at_once(network: nn.Module, images: Tensor, *beside: Tensor) -> Tensor:
        said: Tensor = network(images.to(device), *(values.to(device) for values in beside))
        return said.float().cpu()

    return at_once if patch is None else _sliding(patch, device)


def _sliding(patch: PatchSpec, device: torch.device | str) -> Infer:
    from monai.inferers import SlidingWindowInferer  # seconds to import

    slide = SlidingWindowInferer(
        roi_size=patch.grid,
        sw_batch_size=patch.together,
        overlap=patch.overlap,
        mode="gaussian",
        sw_device=device,
        device="cpu",
    )

    def window_by_window(network: nn.Module, images: Tensor, *beside: Tensor) -> Tensor:
        said: Tensor = slide(images, network, *beside)
        return said.float()

    return window_by_window
