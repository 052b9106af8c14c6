"""Whole images through a network that sees a part at a time."""

import torch
from torch import Tensor, nn

from client.work.inferer import inferer
from shared.patch import PatchSpec


class Noting(nn.Module):
    """Says of each place what it sees there, and notes the sizes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return images * 2


def test_windows_cover_an_image_that_they_do_not_divide() -> None:
    network, images = Noting(), torch.randn(1, 1, 10, 40, 40)
    said = inferer(PatchSpec(size_px=16, slices=8, overlap=0.5), device="cpu")(network, images)
    assert torch.allclose(said, images * 2, atol=1e-5)
    assert {shape[2:] for shape in network.seen} == {(8, 16, 16)}
    assert max(shape[0] for shape in network.seen) <= 64


def test_the_middle_of_a_window_counts_more_than_its_edge() -> None:
    def ramp(window: Tensor) -> Tensor:
        return torch.arange(16.0).expand_as(window).clone()

    said = inferer(PatchSpec(size_px=16, overlap=0.5), device="cpu")(ramp, torch.zeros(1, 1, 16, 24))
    first, second = 9.0, 1.0  # what the two windows say of column 9, where the first is nearer to its middle
    assert said[0, 0, 8, 9] > (first + second) / 2 + 1


def test_without_patches_the_network_sees_it_all_at_once() -> None:
    network, images = Noting(), torch.randn(2, 1, 24, 24)
    assert torch.equal(inferer(None, device="cpu")(network, images), images * 2)
    assert network.seen == [(2, 1, 24, 24)]
