"""What is said on the study's grid comes back to the voxels that the scan brought there, however its axes lie."""

import numpy as np
import pytest

from client.imaging.from_grid import from_grid
from client.imaging.grid import Assembly, Scan
from shared.images import ImageSpec

IMAGES = ImageSpec(size_px=32, slices=32, spacing_mm=(2, 2, 2))
SCANS = [
    Scan((12, 24, 20), (4.0, 2.0, 2.5)),
    Scan((24, 12, 20), (2.0, 4.0, 2.5), (2, 0, 1), (True, False, True)),
]


def ball(scan: Scan, shifts_mm: list[tuple[float, float]]) -> np.ndarray:
    """A ball beside the middle, (planes, rows, columns)."""
    planes, rows, columns = (
        (np.arange(n) - (n - 1) / 2) * step for n, step in zip(scan.counts, scan.spacing_mm, strict=True)
    )
    found = [
        (plane - 4) ** 2 + (rows[:, None] + down + 3) ** 2 + (columns + across - 5) ** 2 < 12**2
        for plane, (down, across) in zip(planes, shifts_mm, strict=True)
    ]
    return np.array(found)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("tilted", [False, True])
def test_a_ball_comes_back_to_where_it_was(scan: Scan, tilted: bool) -> None:
    shifts = [(0.4 * n if tilted else 0.0, 0.0) for n in range(scan.counts[0])]
    truth, assembly = ball(scan, shifts), Assembly(scan, IMAGES)
    for plane, shift in zip(truth, shifts, strict=True):
        assembly.add(plane.astype(np.float64), shift_mm=shift)
    said, _ = assembly.volume()
    found = np.stack(list(from_grid(said, scan, IMAGES, shifts_mm=shifts if tilted else ()))) >= 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95


def test_outside_of_the_grid_nothing_is_said() -> None:
    wide = Scan((60, 60, 60), (2.0, 2.0, 2.0))
    found = np.stack(list(from_grid(np.ones(IMAGES.grid, np.float32), wide, IMAGES)))
    assert (found[:13].max(), found[14:46, 14:46, 14:46].min()) == (0, 1)
