"""Between the cache and the network."""

import numpy as np
import pytest
import torch

from client.imaging.transforms import augmentation, light, to_network


def _batch(count: int = 6, size: int = 32) -> torch.Tensor:
    rng = np.random.default_rng(5)
    return to_network(rng.integers(0, 65536, (count, 1, size, size), dtype=np.uint16))


def _light(batch: torch.Tensor, seed: int) -> torch.Tensor:
    images, labels = light(batch, torch.arange(len(batch)), np.random.default_rng(seed))
    assert torch.equal(labels, torch.arange(len(batch)))
    return images


def test_the_range_of_the_network() -> None:
    found = to_network(np.array([0, 32768, 65535], dtype=np.uint16).reshape(1, 1, 1, 3))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.ravel(), [-1, 1 / 65535, 1], atol=1e-6)


def test_a_read_only_map_is_copied() -> None:
    images = np.zeros((2, 1, 4, 4), dtype=np.uint16)
    images.flags.writeable = False
    to_network(images).add_(1)
    assert not images.any()


def test_names() -> None:
    assert augmentation("none") is None
    assert augmentation("light") is light
    with pytest.raises(ValueError, match="flip"):
        augmentation("flip")


def test_the_same_stream_gives_the_same_images_and_another_gives_others() -> None:
    batch = _batch()
    first = _light(batch, 1)
    assert torch.equal(first, _light(batch, 1))
    assert not torch.equal(first, _light(batch, 2))


def test_no_other_randomness_is_read_or_moved() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[2]
    _light(_batch(), 1)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == np.random.get_state()[2]


def test_shape_range_and_input_are_kept() -> None:
    batch = _batch()
    before = batch.clone()
    found = _light(batch, 1)
    assert (found.shape, found.dtype) == (batch.shape, torch.float32)
    assert found.min() >= -1
    assert found.max() <= 1
    assert torch.equal(batch, before)


def test_black_stays_black_also_at_the_borders() -> None:
    black = torch.full((8, 3, 32, 32), -1.0)
    assert torch.equal(_light(black, 0), black)


def test_images_are_never_mirrored() -> None:
    """A mark on the left stays on the left."""
    batch = torch.full((64, 1, 32, 32), -1.0)
    batch[:, :, 12:20, 4:8] = 1
    found = _light(batch, 3) + 1
    assert (found[..., :16].sum(dim=(1, 2, 3)) > 20).all()
    assert (found[..., 16:].sum(dim=(1, 2, 3)) == 0).all()


def test_moves_are_small() -> None:
    batch = torch.full((64, 1, 64, 64), -1.0)
    batch[:, :, 28:36, 44:52] = 1  # centre of mass at (31.5, 47.5)
    found = _light(batch, 4) + 1
    weights = found[:, 0] / found[:, 0].sum(dim=(1, 2), keepdim=True)
    x = (weights.sum(dim=1) * torch.arange(64)).sum(dim=1)
    y = (weights.sum(dim=2) * torch.arange(64)).sum(dim=1)
    moved = torch.hypot(x - 47.5, y - 31.5)
    assert moved.max() < 9  # 16 px x sin(10 deg) + 5 % of 64 px on both axes, and zoom
    assert moved.max() > 2


def test_a_volume_moves_as_its_slices_do() -> None:
    """A bar along the long axis, right of the middle: it stays on its side and is longer than the shift takes away."""
    batch = torch.full((16, 1, 12, 32, 32), -1.0)
    batch[:, :, :, 12:20, 4:8] = 1
    first = _light(batch, 3)
    assert (first.shape, first.dtype) == (batch.shape, torch.float32)
    assert torch.equal(first, _light(batch, 3))
    assert not torch.equal(first[0], first[1])
    light_of = first + 1
    assert (light_of[..., :16].sum(dim=(3, 4)).flatten(1)[:, 1:-1] > 20).all()
    assert (light_of[..., 16:].sum(dim=(1, 2, 3, 4)) == 0).all()


def test_a_volume_is_not_bent() -> None:
    """What is the same in every slice stays the same in every slice."""
    batch = _batch(4, 16)[:, :, None].repeat(1, 1, 16, 1, 1)
    inner = _light(batch, 8)[:, :, 3:-3]
    assert torch.allclose(inner, inner[:, :, :1].expand_as(inner), atol=1e-5)


def test_a_mask_moves_as_its_image_does() -> None:
    """A square of two structures, drawn into the image in two greys."""
    masks = torch.zeros((32, 64, 64), dtype=torch.int64)
    masks[:, 20:44, 20:32], masks[:, 20:44, 32:44] = 1, 2
    drawn, moved = light(masks[:, None].float() - 1, masks, np.random.default_rng(5))
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) == {0, 1, 2}
    assert not torch.equal(moved, masks)
    gains = (drawn + 1).amax(dim=(1, 2, 3)).clamp(max=2) / 2
    called = ((drawn[:, 0] + 1) / gains[:, None, None]).round()
    shared = ((called > 0) & (moved > 0)).sum() / ((called > 0) | (moved > 0)).sum()
    assert shared > 0.9


def test_the_mask_of_a_volume_moves_as_the_volume_does() -> None:
    masks = torch.zeros((8, 16, 32, 32), dtype=torch.int64)
    masks[:, 4:12, 10:24, 8:20] = 1
    drawn, moved = light(masks[:, None].float() * 2 - 1, masks, np.random.default_rng(5))
    assert (moved.shape, moved.dtype) == (masks.shape, torch.int64)
    assert all(not torch.equal(one, was) for one, was in zip(moved, masks, strict=True))
    called = drawn[:, 0] > 0
    shared = (called & (moved == 1)).sum() / (called | (moved == 1)).sum()
    assert shared > 0.9
