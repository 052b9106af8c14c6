"""Between the cache and the network."""

import numpy as np
import torch

from client.imaging.transforms import to_network


def test_the_range_of_the_network() -> None:
    found = to_network(np.array([0, 32768, 65535], dtype=np.uint16).reshape(1, 1, 1, 3))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.ravel(), [-1, 1 / 65535, 1], atol=1e-6)


def test_a_read_only_map_is_copied() -> None:
    images = np.zeros((2, 1, 4, 4), dtype=np.uint16)
    images.flags.writeable = False
    to_network(images).add_(1)
    assert not images.any()
