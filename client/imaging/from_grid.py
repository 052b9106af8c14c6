"""From the study's grid back to the voxels of a scan: what a network says of each place of a volume, said of the scan.

The way there is `grid`'s, by the same axes and about the same centre; each axis is interpolated linearly by itself, or
averaged where a voxel of the scan is wider than one of the study. Outside of the grid nothing is said, and that is 0.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from client.imaging.grid import Scan, study_spacing
from shared.images import ImageSpec

_HALF = 0.5 - 1e-4  # of a voxel that the grid must fill; less is outside of it


def from_grid(
    said: NDArray[np.float32], scan: Scan, images: ImageSpec, *, shifts_mm: Sequence[tuple[float, float]] = ()
) -> Iterator[NDArray[np.float32]]:
    """Bring what was said of the study's voxels to those of a scan, plane by plane.

    Args:
        said: (slices, size_px, size_px).
        scan: the voxels that are wanted.
        images: of the study.
        shifts_mm: how far each plane lies from the scan's axis along rows and columns; none if all lie on it.

    Yields:
        (rows, columns) of each plane, as the scan has them.
    """
    along = np.transpose(said, scan.along)  # the patient's axes -> the scan's
    along = np.flip(along, tuple(axis for axis in range(3) if scan.backwards[axis]))
    steps = study_spacing(scan, images)
    steps_mm = [steps[axis] for axis in scan.along]
    still = [_weights(scan, axis, along, steps_mm) for axis in (1, 2)]
    for number, weights in enumerate(_weights(scan, 0, along, steps_mm)):
        near, (down, across) = np.flatnonzero(weights), still
        plane = np.tensordot(weights[near], along[near], 1)
        if shifts_mm:
            down, across = (_weights(scan, axis, along, steps_mm, shifts_mm[number][axis - 1]) for axis in (1, 2))
        yield down @ plane @ across.T


def _weights(
    scan: Scan, axis: int, said: NDArray[np.float32], steps_mm: Sequence[float], shift_mm: float = 0.0
) -> NDArray[np.float32]:
    """(of the scan, of the study); a row adds up to 1, or to 0 outside of the grid."""
    step, spacing = scan.spacing_mm[axis], steps_mm[axis]
    there = _centres(scan.counts[axis], step) + shift_mm
    apart = np.abs(there[:, None] - _centres(said.shape[axis], spacing)[None, :])
    width = max(step, spacing)
    weights = np.clip(1 - apart / width, 0, None) * (spacing / width)
    filled = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, filled, out=np.zeros_like(weights), where=filled >= _HALF)
    return np.asarray(shares, dtype=np.float32)


def _centres(count: int, step_mm: float) -> NDArray[np.float64]:
    """Of so many voxels in a row, in mm from their middle."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * step_mm)
