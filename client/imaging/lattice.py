"""Where the voxels of a whole volume lie, and whether two volumes lie in one place.

Decides how far a mask may lie from its image: a tenth of the smallest edge of a voxel, which is more than programs lose
when they round a header, and less than any eye draws.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.imaging.grid import Scan
from client.imaging.planes import Vector
from client.imaging.reasons import Reason

TOLERANCE = 0.1  # of the smallest edge of a voxel


@dataclass(frozen=True)
class Lattice:
    """The voxels of a volume, upright.

    Attributes:
        counts: times, slices, rows, columns.
        first_mm: the centre of the first voxel.
        steps_mm: from slice to slice, row to row and column to column.
    """

    counts: tuple[int, int, int, int]
    first_mm: Vector = field(repr=False)
    steps_mm: tuple[Vector, Vector, Vector] = field(repr=False)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """From slice to slice, row to row, column to column."""
        up, down, across = np.linalg.norm(self.steps_mm, axis=1).tolist()
        return up, down, across

    @property
    def scan(self) -> Scan:
        """The voxels of one time."""
        return Scan(self.counts[1:], self.spacing_mm)

    def near(self, other: "Lattice") -> bool:
        """Whether the voxels of two volumes of the same counts lie at the same places."""
        edges = np.linalg.norm(self.steps_mm, axis=1)
        return bool(np.linalg.norm(self._corners() - other._corners(), axis=1).max() <= TOLERANCE * edges.min())

    def _corners(self) -> NDArray[np.float64]:
        """(8, 3) mm."""
        ends = np.array(np.meshgrid(*[(0, count - 1) for count in self.counts[1:]], indexing="ij")).reshape(3, -1).T
        return np.asarray(np.array(self.first_mm) + ends @ np.array(self.steps_mm))


def misplaced(mask: Lattice | None, image: Lattice | None) -> Reason | None:
    """Why a mask cannot be that of an image, by where they lie; None if it can, or if nobody says where they lie."""
    if mask is None or image is None:
        return None
    if mask.counts != image.counts:
        return Reason.MASK_SIZE
    return None if mask.near(image) else Reason.MASK_ELSEWHERE
