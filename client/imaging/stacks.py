"""From parallel images to a volume: in which order, at which distance, and whether they are one at all.

Decides by the positions alone, along the normal of the planes; the first rule that applies:

1. Images at fewer than three places are no volume.
2. As many images at each place as at any other are several volumes in one: times, echoes or phases.
3. Two images at some places: which of them counts, nobody knows.
4. Places whose distances differ by more than a tenth have a slice missing, or are several blocks.
5. More voxels than the limit.

Each slice lies where its header says. Where that is not on the normal through the others, as under a tilted gantry, it
is put back by as much (`grid`), so that the volume is not sheared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from client.imaging.form import MAX_VOXELS, MIN_SLICES
from client.imaging.grid import Axes, Scan
from client.imaging.planes import Plane, Vector
from client.imaging.reasons import Reason, SetAside

_SAME_MM = 0.01  # images less apart are at one place
_UNEVEN = 0.1  # of the usual distance
_STRAIGHT = 0.25  # of a pixel that a slice may lie beside the normal


@dataclass(frozen=True, slots=True)
class Piece:
    """One image of a volume: a frame of a file whose SHA-256 (hex) is `content`."""

    file: str = field(repr=False)
    content: str
    frame: int = 0


@dataclass(frozen=True)
class Stack:
    """The images of one volume, in the order of their places.

    Attributes:
        pieces: the images.
        scan: the voxels that they make.
        shifts_mm: how far each lies from the scan's axis along rows and columns; empty if all lie on it.
    """

    pieces: tuple[Piece, ...]
    scan: Scan
    shifts_mm: tuple[tuple[float, float], ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the pieces, each once."""
        return tuple(dict.fromkeys(piece.file for piece in self.pieces))


def stack_of(plane: Plane, pieces: Sequence[tuple[Piece, Vector]]) -> Stack:
    """Order images that are parallel to a plane.

    Args:
        plane: one of theirs.
        pieces: each with the position of its first voxel, in mm.

    Raises:
        SetAside: they are no volume, by the module's rules.
    """
    normal, down, across = plane.directions
    positions = np.array([position for _, position in pieces], dtype=np.float64)
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    step_mm = _step(heights[order])
    if len(pieces) * plane.counts[0] * plane.counts[1] > MAX_VOXELS:
        raise SetAside(Reason.TOO_LARGE)
    along, backwards = _axes(plane.directions)
    scan = Scan((len(pieces), *plane.counts), (step_mm, *plane.spacing_mm), along, backwards)
    beside = (positions - positions.mean(axis=0))[order] @ np.array([down, across]).T
    shifts = () if abs(beside).max() < _STRAIGHT * min(plane.spacing_mm) else beside.tolist()
    return Stack(tuple(pieces[number][0] for number in order), scan, tuple((row, column) for row, column in shifts))


def _step(heights: NDArray[np.float64]) -> float:
    """The distance from place to place, by rules 1 to 4."""
    gaps = np.diff(heights)
    apart = np.flatnonzero(gaps > _SAME_MM)
    if len(apart) + 1 < MIN_SLICES:
        raise SetAside(Reason.FEW_SLICES)
    if len(apart) < len(gaps):
        at_each = np.diff([-1, *apart, len(gaps)])
        raise SetAside(Reason.TIME_SERIES if at_each.min() == at_each.max() else Reason.DUPLICATE_SLICES)
    step = float(np.median(gaps))
    if (abs(gaps - step) > _UNEVEN * step).any():
        raise SetAside(Reason.UNEVEN_SLICES)
    return step


def _axes(directions: NDArray[np.float64]) -> tuple[Axes, tuple[bool, bool, bool]]:
    """Which axis of the patient each direction is nearest to, and whether it runs against it."""
    shares = directions[:, ::-1]  # on the way to the head, the back, the left
    z, y, x = max(permutations(range(3)), key=lambda axes: sum(abs(shares[i, axis]) for i, axis in enumerate(axes)))
    return (z, y, x), (bool(shares[0, z] < 0), bool(shares[1, y] < 0), bool(shares[2, x] < 0))
