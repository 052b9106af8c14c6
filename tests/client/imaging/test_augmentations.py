"""The ways to vary training images: what each step does, what each set leaves alone, and that masks follow."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from client.imaging.augmentations import augmentation
from client.imaging.shades import Shade, bias, colour, gain, gamma, noise, shaded, speckle
from client.imaging.transforms import to_network
from shared.images import Augmentation, ImageSpec

NAMES = tuple(name for name in get_args(Augmentation) if name != "none")
MIRRORED = ("dermoscopy", "pathology")
NOISY = ("xray", "ct", "mri")
both_sizes = pytest.mark.parametrize("size", [(3, 32, 32), (1, 16, 32, 32)], ids=["image", "volume"])


def _batch(count: int = 6, size: int = 32) -> Tensor:
    rng = np.random.default_rng(5)
    return to_network(rng.integers(0, 65536, (count, 1, size, size), dtype=np.uint16))


def varied(name: str, images: Tensor, targets: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    vary = augmentation(name)
    assert vary is not None
    return vary(images, targets, np.random.default_rng(seed))


def _light(batch: Tensor, seed: int) -> Tensor:
    images, labels = varied("light", batch, torch.arange(len(batch)), seed=seed)
    assert torch.equal(labels, torch.arange(len(batch)))
    return images


def test_names() -> None:
    """Every name that a study may ask for is one, and no other."""
    assert augmentation("none") is None
    for name in NAMES:
        assert ImageSpec.model_validate({"augment": name}).augment == name
        assert augmentation(name) is not None
    with pytest.raises(ValueError, match="flip"):
        augmentation("flip")


# ------------------------------------------------------------------ of every set


@both_sizes
@pytest.mark.parametrize("name", NAMES)
def test_a_set_keeps_form_range_and_input_and_follows_its_stream(name: str, size: tuple[int, ...]) -> None:
    images, labels = torch.rand(6, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1, torch.arange(6)
    before, state = images.clone(), torch.get_rng_state()
    first, second, other = (varied(name, images, labels, seed=seed) for seed in (1, 1, 2))
    assert (first[0].shape, first[0].dtype) == (images.shape, torch.float32)
    assert first[0].abs().max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(first[1], labels)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])
    assert all(not torch.equal(one, was) for one, was in zip(first[0], images, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@both_sizes
@pytest.mark.parametrize("name", NAMES)
def test_masks_follow_in_every_set(name: str, size: tuple[int, ...]) -> None:
    """A square off the middle, drawn into the image in white."""
    masks = torch.zeros((16, *size[1:]), dtype=torch.int64)
    masks[..., 6:22, 4:18] = 1
    drawn, moved = varied(name, masks[:, None].float().expand(-1, size[0], *size[1:]) * 2 - 1, masks, seed=5)
    assert (moved.shape, moved.dtype) == (masks.shape, torch.int64)
    assert sum(not torch.equal(one, was) for one, was in zip(moved, masks, strict=True)) > 8
    called = drawn.mean(dim=1) > -0.2
    assert ((called & (moved == 1)).sum() / (called | (moved == 1)).sum()) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_only_images_without_a_side_are_mirrored(name: str) -> None:
    """A mark on the left stays on the left."""
    batch = torch.full((64, 1, 32, 32), -1.0)
    batch[:, :, 12:20, 4:8] = 1
    found = varied(name, batch, torch.arange(64), seed=3)[0] + 1
    onright = (found[..., 16:] > 0.6).flatten(1).any(dim=1)
    assert onright.any() == (name in MIRRORED)


def test_a_square_has_eight_symmetries_and_all_are_drawn() -> None:
    batch = torch.full((200, 1, 8, 8), -1.0)
    batch[:, :, 1, 2] = 1
    places = varied("pathology", batch, torch.arange(200), seed=0)[0].flatten(1).argmax(dim=1)
    assert set(places.tolist()) == {8 * y + x for a, b in ((1, 2), (2, 1)) for y in (a, 7 - a) for x in (b, 7 - b)}


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(NOISY)))
def test_black_stays_black_without_noise(name: str) -> None:
    black = torch.full((8, 3, 32, 32), -1.0)
    assert torch.equal(varied(name, black, torch.arange(8), seed=0)[0], black)


def test_hounsfield_units_are_kept_but_for_noise() -> None:
    flat = torch.full((32, 1, 16, 16), 0.2)
    middle = varied("ct", flat, torch.arange(32), seed=0)[0][..., 4:12, 4:12]
    assert (middle.flatten(1).mean(dim=1) - 0.2).abs().max() < 0.02


# ------------------------------------------------------------------ shades, of light from 0 to 1


def shades_of(shade: Shade, light: Tensor) -> Tensor:
    images, _ = shaded(shade)(light * 2 - 1, torch.arange(len(light)), np.random.default_rng(0))
    return (images + 1) / 2


def test_a_gain_is_one_for_a_whole_image_and_a_colour_one_for_each_channel() -> None:
    light = torch.full((50, 3, 8, 8), 0.5)
    of_gain, of_colour = (shades_of(shade, light) / 0.5 for shade in (gain(0.2), colour(0.2)))
    assert torch.allclose(of_gain, of_gain[:, :1, :1, :1].expand_as(of_gain))
    assert torch.allclose(of_colour, of_colour[:, :, :1, :1].expand_as(of_colour))
    assert not torch.allclose(of_colour[:, 0], of_colour[:, 1])
    for found in (of_gain, of_colour):
        assert 0.8 <= found.min() < 0.85
        assert 1.15 < found.max() <= 1.2


def test_a_gamma_bends_and_leaves_black_and_white() -> None:
    light = torch.linspace(0, 1, 16).view(1, 1, 4, 4).expand(50, -1, -1, -1)
    bent = shades_of(gamma(0.3), light).flatten(1)
    assert torch.allclose(bent[:, 0], torch.zeros(50))
    assert torch.allclose(bent[:, -1], torch.ones(50))
    assert (bent.diff(dim=1) > 0).all()
    powers = bent[:, 8].log() / light[0].flatten()[8].log()
    assert powers.log().abs().max() <= 0.3 + 1e-4
    assert (powers < 1).any()
    assert (powers > 1).any()


def test_a_bias_is_a_slope_along_each_axis() -> None:
    slopes = shades_of(bias(0.2), torch.full((20, 1, 8, 8, 8), 0.5)) - 0.5
    for axis in (2, 3, 4):
        steps = slopes.diff(dim=axis)
        assert torch.allclose(steps, steps.narrow(axis, 0, 1).expand_as(steps), atol=1e-5)
        assert steps.abs().max() > 0.01
    assert slopes.flatten(1).mean(dim=1).abs().max() < 1e-5


def test_speckle_grows_with_the_light_and_noise_does_not() -> None:
    light = torch.full((100, 1, 16, 16), 0.4)
    light[..., 8:] = 0.1
    for shade, ratio in ((speckle(0.3), 4.0), (noise(0.03), 1.0)):
        spread = (shades_of(shade, light) - light).square()
        assert (spread[..., :8].mean() / spread[..., 8:].mean()).sqrt() == pytest.approx(ratio, rel=0.1)


# ------------------------------------------------------------------ moves, in the set `light`


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
    drawn, moved = varied("light", masks[:, None].float() - 1, masks, seed=5)
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
    drawn, moved = varied("light", masks[:, None].float() * 2 - 1, masks, seed=5)
    assert (moved.shape, moved.dtype) == (masks.shape, torch.int64)
    assert all(not torch.equal(one, was) for one, was in zip(moved, masks, strict=True))
    called = drawn[:, 0] > 0
    shared = (called & (moved == 1)).sum() / (called | (moved == 1)).sum()
    assert shared > 0.9
