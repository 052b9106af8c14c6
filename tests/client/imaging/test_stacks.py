"""Images at places become a volume, or are none by name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from client.imaging.planes import Plane
from client.imaging.reasons import Reason, SetAside
from client.imaging.stacks import Piece, Stack, stack_of

AXIAL = Plane(
    position_mm=(0, 0, 0), across=(1, 0, 0), down=(0, 1, 0), spacing_mm=(0.8, 0.5), counts=(20, 10), frame="1.2"
)


def at(heights: Sequence[float], plane: Plane = AXIAL, *, lean: float = 0.0) -> Stack:
    """A stack of images so many mm along the normal, each `lean` mm further back per mm."""
    normal, down, _ = plane.directions
    places = [height * normal + lean * height * down for height in heights]
    pieces = [(Piece(str(number), "", 0), (float(x), float(y), float(z))) for number, (x, y, z) in enumerate(places)]
    return stack_of(plane, pieces)


def reason(heights: Sequence[float]) -> Reason:
    with pytest.raises(SetAside) as caught:
        at(heights)
    return caught.value.reason


def test_the_order_is_that_of_the_places() -> None:
    stack = at([10, -5, 0, 5])
    assert [piece.file for piece in stack.pieces] == ["1", "2", "3", "0"]
    assert (stack.scan.counts, stack.scan.spacing_mm) == ((4, 20, 10), (5, 0.8, 0.5))
    assert (stack.scan.along, stack.scan.backwards) == ((0, 1, 2), (False, False, False))
    assert stack.shifts_mm == ()


@pytest.mark.parametrize(
    ("heights", "found"),
    [
        ([0], Reason.FEW_SLICES),
        ([0, 5], Reason.FEW_SLICES),
        ([0, 0, 0, 0], Reason.FEW_SLICES),
        ([0, 5, 10, 0, 5, 10], Reason.TIME_SERIES),
        ([0, 5, 10, 5], Reason.DUPLICATE_SLICES),
        ([0, 5, 15, 20], Reason.UNEVEN_SLICES),
        ([0, 5, 10, 40, 45, 50], Reason.UNEVEN_SLICES),
    ],
)
def test_what_is_no_volume(heights: list[float], found: Reason) -> None:
    assert reason(heights) is found


def test_rounding_in_headers_is_no_gap() -> None:
    assert at([0, 1.249, 2.502, 3.75]).scan.spacing_mm[0] == pytest.approx(1.25, abs=0.01)


def test_more_voxels_than_the_limit() -> None:
    with pytest.raises(SetAside, match="too_large"):
        at([0, 1, 2, 3], replace(AXIAL, counts=(16384, 16384)))


@pytest.mark.parametrize(
    ("across", "down", "along", "backwards"),
    [
        ((1, 0, 0), (0, 1, 0), (0, 1, 2), (False, False, False)),
        ((1, 0, 0), (0, 0, -1), (1, 0, 2), (False, True, False)),  # coronal, head on top: from front to back
        ((0, 1, 0), (0, 0, -1), (2, 0, 1), (True, True, False)),  # sagittal: from left to right
        ((-1, 0, 0), (0, 1, 0), (0, 1, 2), (True, False, True)),
        ((0.98, 0.2, 0), (-0.2, 0.98, 0), (0, 1, 2), (False, False, False)),  # askew
    ],
)
def test_each_axis_lies_along_the_patients_nearest(
    across: tuple[float, float, float],
    down: tuple[float, float, float],
    along: tuple[int, int, int],
    backwards: tuple[bool, bool, bool],
) -> None:
    scan = at([0, 1, 2], replace(AXIAL, across=across, down=down)).scan
    assert (scan.along, scan.backwards) == (along, backwards)


def test_a_tilted_gantry_is_measured() -> None:
    stack = at([0, 2, 4], lean=np.tan(np.radians(20)))
    assert np.allclose(stack.shifts_mm, [(-0.728, 0), (0, 0), (0.728, 0)], atol=1e-3)
    assert at([0, 2, 4], lean=0.01).shifts_mm == ()  # rounding


def test_what_is_parallel() -> None:
    assert AXIAL.parallel(replace(AXIAL, position_mm=(5, 5, 5), across=(0.99999, 0.001, 0)))
    others = ({"frame": "1.3"}, {"counts": (20, 11)}, {"spacing_mm": (0.8, 0.6)}, {"down": (0, 0.97, 0.24)})
    assert not any(AXIAL.parallel(replace(AXIAL, **other)) for other in others)
