"""From the voxels of a scan to those of the study: one grid for the volumes of all sites, and for their masks.

Decides where each voxel of the study lies in a scan: about its centre, at the study's spacing, cut off or surrounded
by nothing as its size asks. The axes are those of the scan that lie nearest to the patient's: slices from the
feet up, rows from front to back, columns from the patient's right to the left; a scan that is tilted stays so, and is
not turned. Each axis is resampled by itself, and a scan comes slice by slice, so memory does not grow with it.
What the values mean is left to `levels`, how slices are found to the formats.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.images import ImageSpec

Axes = tuple[int, int, int]
Weights = NDArray[np.float32]  # (of the study, of the scan)
_HALF = 0.5 - 1e-4  # of a voxel that a scan must fill; less is outside of it
_NO_SHIFT = (0.0, 0.0)


@dataclass(frozen=True)
class Scan:
    """The voxels of a scan, by its own axes: from plane to plane, row to row, column to column.

    Attributes:
        counts: how many.
        spacing_mm: from the centre of one to the next.
        along: the patient's axis that each lies along: 0 from the feet up, 1 front to back, 2 right to left.
        backwards: whether it runs the other way.
    """

    counts: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    along: Axes = (0, 1, 2)
    backwards: tuple[bool, bool, bool] = (False, False, False)

    @property
    def order(self) -> Axes:
        """The scan's axis that lies along each of the patient's."""
        up, down, across = (self.along.index(axis) for axis in range(3))
        return up, down, across

    @property
    def upright(self) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
        """Its counts and spacing by the patient's axes: slices, rows, columns."""
        up, down, across = self.order
        counts, mm = self.counts, self.spacing_mm
        return (counts[up], counts[down], counts[across]), (mm[up], mm[down], mm[across])


def study_spacing(scan: Scan, images: ImageSpec) -> tuple[float, float, float]:
    """Millimetres between the study's voxels in a scan: slices, rows, columns."""
    if images.spacing_mm is not None:
        across, down, up = images.spacing_mm
        return up, down, across
    height, *plane = (scan.counts[axis] * scan.spacing_mm[axis] for axis in scan.order)
    slices, size_px, _ = images.grid
    return height / slices, max(plane) / size_px, max(plane) / size_px


class Assembly:
    """Takes the planes of one scan in their order, and becomes the study's volume.

    Args:
        scan: what comes.
        images: what is wanted, with `slices`.
        nearest: takes each value from the nearest voxel, as a mask must; else values are averaged over as much as
            the study's voxel covers, and interpolated linearly where it covers less than one of the scan.
    """

    def __init__(self, scan: Scan, images: ImageSpec, *, nearest: bool = False) -> None:
        self._scan, self._nearest = scan, nearest
        spacing_mm = study_spacing(scan, images)
        self._spacing_mm = [spacing_mm[axis] for axis in scan.along]
        size = [images.grid[axis] for axis in scan.along]
        self._sums, self._shares = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        self._up = self._weights(0)
        self._still = (self._weights(1), self._weights(2))
        self._taken = 0

    def add(
        self,
        values: NDArray[Any],
        *,
        valid: NDArray[np.bool_] | None = None,
        shift_mm: tuple[float, float] = _NO_SHIFT,
    ) -> None:
        """Take the next plane.

        Args:
            values: (rows, columns).
            valid: False where there is no measurement; None where all are.
            shift_mm: how far its centre lies from the scan's axis, along rows and columns (a tilted gantry).
        """
        down, across = self._still
        if shift_mm != _NO_SHIFT:
            down, across = self._weights(1, shift_mm[0]), self._weights(2, shift_mm[1])
        filled = np.ones(values.shape, np.float32) if valid is None else valid.astype(np.float32)
        share = down @ filled @ across.T
        plane = down @ (values.astype(np.float32) * filled) @ across.T
        for number in np.flatnonzero(self._up[:, self._taken]):
            self._sums[number] += self._up[number, self._taken] * plane
            self._shares[number] += self._up[number, self._taken] * share
        self._taken += 1

    def volume(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(slices, size_px, size_px) values, 0 outside of the scan; and what is inside."""
        inside = self._shares >= _HALF
        values = np.divide(self._sums, self._shares, out=np.zeros_like(self._sums), where=inside)
        turned = tuple(axis for axis in range(3) if self._scan.backwards[axis])
        order = self._scan.order
        return np.flip(values, turned).transpose(order), np.flip(inside, turned).transpose(order)

    def _weights(self, axis: int, shift_mm: float = 0.0) -> Weights:
        count, step = self._scan.counts[axis], self._scan.spacing_mm[axis]
        size, spacing = self._sums.shape[axis], self._spacing_mm[axis]
        there = _centres(count, step) + shift_mm
        apart = np.abs(_centres(size, spacing)[:, None] - there[None, :])
        if self._nearest:
            weights = np.eye(count)[apart.argmin(axis=1)] * (apart.min(axis=1, keepdims=True) <= step / 2 + 1e-6)
        else:
            width = max(step, spacing)
            weights = np.clip(1 - apart / width, 0, None) * (step / width)
        return np.asarray(weights, dtype=np.float32)


def _centres(count: int, step_mm: float) -> NDArray[np.float64]:
    """Of so many voxels in a row, in mm from their middle."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * step_mm)
