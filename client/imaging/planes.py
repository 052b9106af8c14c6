"""Where an image lies in the patient.

Decides what is known of one plane, in millimetres of its frame of reference, along DICOM's axes: to the patient's left,
back and head (PS3.3 C.7.6.2). Which header elements say it is left to `dicom_planes`, what many make to `stacks`.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
_ALIKE = 0.01  # of a unit vector, or share of a spacing: rounding in the header
_ROUNDED_MM, _ROUNDED_COSINE = 1e-3, 1e-4  # what programs lose that write a header anew; over 500 pixels not one


@dataclass(frozen=True)
class Plane:
    """One image in the patient.

    Attributes:
        position_mm: of the centre of the first voxel.
        across: unit vector from column to column.
        down: unit vector from row to row.
        spacing_mm: from row to row, and from column to column.
        counts: rows and columns.
        frame: the frame of reference, an identifier.
    """

    position_mm: Vector
    across: Vector
    down: Vector
    spacing_mm: tuple[float, float]
    counts: tuple[int, int]
    frame: str = field(default="", repr=False)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors from plane to plane, row to row and column to column, (3, 3)."""
        return np.array([np.cross(self.across, self.down), self.down, self.across])

    @cached_property
    def reach_mm(self) -> NDArray[np.float64]:
        """From the centre of the first voxel to those at the four corners, (4, 3)."""
        down, across = (self.directions[1:].T * self.spacing_mm * np.subtract(self.counts, 1)).T
        return np.array([np.zeros(3), down, across, down + across])

    def rounds_to(self, other: "Plane") -> bool:
        """Whether two images lie alike, but for their places and for what is lost when a header is written anew."""
        return (
            (self.frame, self.counts) == (other.frame, other.counts)
            and np.allclose(self.directions, other.directions, rtol=0, atol=_ROUNDED_COSINE)
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=_ROUNDED_MM)
        )

    def parallel(self, other: "Plane") -> bool:
        """Whether two images can be slices of one volume."""
        return (
            (self.frame, self.counts) == (other.frame, other.counts)
            and np.allclose(self.directions, other.directions, atol=_ALIKE)
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=_ALIKE)
        )
