"""From any size to the study's shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.imaging.fit import fit
from shared.images import ImageSpec


def test_an_image_of_the_right_size_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (32, 32), dtype=np.uint16)
    np.testing.assert_array_equal(fit(pixels, ImageSpec(size_px=32))[0], pixels)


def test_grey_is_repeated_over_three_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 32), dtype=np.uint16)
    found = fit(pixels, ImageSpec(size_px=32, channels=3))
    assert found.shape == (3, 32, 32)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[0], fit(pixels, ImageSpec(size_px=32))[0])


def test_colour_keeps_its_channels_in_order() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint16) + np.array([100, 200, 300], dtype=np.uint16)
    np.testing.assert_array_equal(fit(pixels, ImageSpec(size_px=16, channels=3))[:, 0, 0], [100, 200, 300])


def test_colour_becomes_grey_by_luma() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint16)
    pixels[..., 1] = 10_000
    assert (fit(pixels, ImageSpec(size_px=16)) == 5870).all()


@pytest.mark.parametrize(("shape", "black"), [((100, 50), np.s_[:, :, :8]), ((50, 100), np.s_[:, :8, :])])
def test_the_aspect_ratio_is_kept_with_black_borders(shape: tuple[int, int], black: object) -> None:
    found = fit(np.full(shape, 65535, dtype=np.uint16), ImageSpec(size_px=32))
    assert (found[black] == 0).all()  # type: ignore[index]
    assert (found == 65535).mean() == 0.5


def test_shrinking_averages_and_does_not_alias() -> None:
    pixels = np.indices((256, 256)).sum(axis=0) % 2 * 65535
    found = fit(pixels.astype(np.uint16), ImageSpec(size_px=16))
    assert abs(found.astype(float) / 65535 - 0.5).max() < 0.02


def test_ringing_is_clipped() -> None:
    pixels = np.zeros((8, 8), dtype=np.uint16)
    pixels[:, 4:] = 65535
    found = fit(pixels, ImageSpec(size_px=64))
    assert found[0, 32, 0] < 1000
    assert found[0, 32, -1] > 64000


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 3]), st.booleans())
def test_any_size_fits(height: int, width: int, channels: int, colour: bool) -> None:
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    spec = ImageSpec(size_px=24, channels=channels)
    found = fit(pixels, spec)
    assert (found.shape, found.dtype) == ((channels, 24, 24), np.uint16)
    np.testing.assert_array_equal(found, fit(pixels.copy(), spec))
