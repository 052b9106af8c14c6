"""The study's voxels in a scan: where they lie, and what they hold."""

import numpy as np
import pytest

from client.imaging.grid import Assembly, Scan, study_spacing
from shared.images import ImageSpec


def assembled(
    voxels: np.ndarray,
    images: ImageSpec,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    nearest: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    assembly = Assembly(Scan(voxels.shape, spacing_mm), images, nearest=nearest)
    for plane in voxels:
        assembly.add(plane)
    return assembly.volume()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def test_a_scan_on_the_grid_is_unchanged() -> None:
    voxels = noise(8, 16, 16)
    found, inside = assembled(voxels, ImageSpec(slices=8, size_px=16, spacing_mm=(1, 1, 1)))
    assert inside.all()
    np.testing.assert_allclose(found, voxels, atol=1e-6)


def test_it_is_cut_or_padded_about_its_centre() -> None:
    voxels = noise(12, 32, 10)
    found, inside = assembled(voxels, ImageSpec(slices=8, size_px=16, spacing_mm=(1, 1, 1)))
    np.testing.assert_allclose(found[:, :, 3:13], voxels[2:10, 8:24], atol=1e-6)
    assert not inside[:, :, :3].any()
    assert not inside[:, :, 13:].any()
    assert (found[~inside] == 0).all()


def test_the_axes_of_the_study_are_right_to_left_front_to_back_and_feet_to_head() -> None:
    scan = Scan((10, 20, 40), (5.0, 1.0, 2.0))
    assert study_spacing(scan, ImageSpec(slices=8, spacing_mm=(1, 2, 3))) == (3, 2, 1)
    # Without a spacing: 50 mm of height over 10 slices, and the wider side, 80 mm, over 16 pixels.
    assert study_spacing(scan, ImageSpec(slices=10, size_px=16)) == (5.0, 5.0, 5.0)


def test_a_position_in_the_patient_stays_where_it_is() -> None:
    """A ramp along each axis, read off at the study's voxels."""
    up, down, across = (
        (np.arange(n) - (n - 1) / 2) * step for n, step in zip((9, 30, 30), (4.0, 1.5, 1.5), strict=True)
    )
    ramp = (100 * up[:, None, None] + 10 * down[None, :, None] + across[None, None, :]).astype(np.float32)
    found, inside = assembled(ramp, ImageSpec(slices=8, size_px=16, spacing_mm=(2, 2, 3)), (4.0, 1.5, 1.5))
    z, y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip((8, 16, 16), (3.0, 2.0, 2.0), strict=True))
    wanted = 100 * z[:, None, None] + 10 * y[None, :, None] + x[None, None, :]
    assert inside.all()
    np.testing.assert_allclose(found, wanted, atol=0.5)  # the plane shrinks by no whole number


def test_shrinking_averages_and_does_not_alias() -> None:
    checks = (np.indices((32, 64, 64)).sum(axis=0) % 2).astype(np.float32)
    found, inside = assembled(checks, ImageSpec(slices=8, size_px=16, spacing_mm=(4, 4, 4)))
    assert inside.all()
    assert abs(found - 0.5).max() < 0.1


def test_a_mask_follows_and_stays_a_mask() -> None:
    scan = np.zeros((20, 48, 48), dtype=np.float32)
    scan[5:15, 12:36, 6:18] = 7
    images = ImageSpec(slices=12, size_px=24, spacing_mm=(2, 2, 2))
    picture, _ = assembled(scan, images)
    mask, inside = assembled(scan, images, nearest=True)
    assert set(np.unique(mask).tolist()) == {0, 7}
    assert (inside.sum(axis=(1, 2)) > 0).tolist() == [False] + [True] * 10 + [False]
    np.testing.assert_array_equal(mask[picture > 6.9], 7)  # the same place, half a voxel of the rim aside
    np.testing.assert_array_equal(mask[(picture < 0.1) & inside], 0)


def test_what_is_not_valid_does_not_stain_its_neighbours() -> None:
    images = ImageSpec(slices=8, size_px=16, spacing_mm=(2, 2, 1))
    assembly = Assembly(Scan((8, 32, 32), (1.0, 1.0, 1.0)), images)
    valid = np.ones((32, 32), dtype=bool)
    valid[:8] = False
    for _ in range(8):
        assembly.add(np.where(valid, 5, -2000), valid=valid)
    found, inside = assembly.volume()
    np.testing.assert_allclose(found[inside], 5, rtol=1e-5)
    assert not inside[:, :4].any()
    assert inside[:, 4:].all()


@pytest.mark.parametrize("shift_mm", [(3.0, 0.0), (0.0, -2.0)])
def test_a_shifted_slice_is_put_back(shift_mm: tuple[float, float]) -> None:
    voxels = noise(8, 32, 32)
    assembly = Assembly(Scan((8, 32, 32), (1.0, 1.0, 1.0)), ImageSpec(slices=8, size_px=16, spacing_mm=(1, 1, 1)))
    for plane in voxels:
        assembly.add(plane, shift_mm=shift_mm)
    down, across = (8 - int(mm) for mm in shift_mm)
    np.testing.assert_allclose(assembly.volume()[0], voxels[:, down : down + 16, across : across + 16], atol=1e-5)
