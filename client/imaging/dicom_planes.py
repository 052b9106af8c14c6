"""Where the frames of a DICOM image lie in the patient.

Decides which elements say it: those of the image, or in an enhanced object those of the frame's functional groups,
else those that all frames share (PS3.3 C.7.6.2, C.7.6.16.2.1, .3 and .4). A header that says only half says nothing.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from client.imaging.planes import Plane, Vector
from client.imaging.reasons import Reason, SetAside

_MACROS = {  # keyword -> the functional group that holds it in an enhanced object
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
}
_MOST_MM = 1e6
_SQUARE = 0.01  # how far the axes may be from unit length and from a right angle


def planes_of(header: Dataset, frames: int) -> tuple[Plane, ...]:
    """The plane of each frame.

    Raises:
        SetAside: the header does not say where an image lies, so it is no slice of a volume.
    """
    try:
        planes = tuple(_plane(header, list(_groups(header, frame))) for frame in range(frames))
    except (KeyError, TypeError, ValueError):
        raise SetAside(Reason.NO_POSITION) from None
    if not all(_sound(plane) for plane in planes):
        raise SetAside(Reason.NO_POSITION)
    return planes


def thickness_mm(header: Dataset, frame: int) -> float | None:
    """How thick a slice was measured; None if the header does not say."""
    measures = [item for group in _groups(header, frame) for item in group.get(_MACROS["PixelSpacing"]) or ()]
    said = next((words.SliceThickness for words in (*measures, header) if words.get("SliceThickness")), None)
    return None if said is None else float(said)


def _groups(header: Dataset, frame: int) -> Iterator[Dataset]:
    """Who may speak about a frame, the first word first."""
    yield from (header.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    yield from (header.get("SharedFunctionalGroupsSequence") or ())[:1]


def _plane(header: Dataset, groups: Sequence[Dataset]) -> Plane:
    said = {keyword: _numbers(_said(header, groups, keyword)) for keyword in _MACROS}
    x, y, z = said["ImagePositionPatient"]
    across_x, across_y, across_z, down_x, down_y, down_z = said["ImageOrientationPatient"]
    down_mm, across_mm = said["PixelSpacing"]
    return Plane(
        position_mm=(x, y, z),
        across=(across_x, across_y, across_z),
        down=(down_x, down_y, down_z),
        spacing_mm=(down_mm, across_mm),
        counts=(int(header.Rows), int(header.Columns)),
        frame=str(header.get("FrameOfReferenceUID") or "")[:64],
    )


def _said(header: Dataset, groups: Sequence[Dataset], keyword: str) -> Any:
    for group in groups:
        for item in group.get(_MACROS[keyword]) or ():
            if keyword in item:
                return item[keyword].value
    return header[keyword].value


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def _sound(plane: Plane) -> bool:
    numbers = (*plane.position_mm, *plane.across, *plane.down, *plane.spacing_mm)
    if not all(math.isfinite(number) and abs(number) < _MOST_MM for number in numbers):
        return False
    return min(plane.spacing_mm) > 0 and _upright(plane.across, plane.down)


def _upright(across: Vector, down: Vector) -> bool:
    lengths = [float(np.dot(one, other)) for one, other in ((across, across), (down, down), (across, down))]
    return bool(np.allclose(lengths, [1, 1, 0], atol=_SQUARE))
