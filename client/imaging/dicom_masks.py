"""DICOM segmentations (PS3.3 A.51) as masks of the volumes that they were drawn on.

Decides which objects are such masks: segments of one bit, or of fractions, of which half and more is inside; about
one series, every frame in the plane of one of its slices. A slice without a frame shows nothing, as writers leave empty
frames out. Which structure a segment is, is left to `segments`, which series it goes with to `series_masks`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import SegmentationStorage

from client.imaging.dicom_file import read_header, read_whole
from client.imaging.dicom_planes import planes_of
from client.imaging.form import MAX_FRAMES, MAX_PIXELS, MAX_VOXELS, Facts, Pixels
from client.imaging.grid import Assembly, Scan
from client.imaging.lattice import TOLERANCE
from client.imaging.planes import Plane
from client.imaging.reasons import Reason, SetAside
from client.imaging.segments import Segment, Segments
from shared.images import ImageSpec

_MOST_LABEL = 64  # characters, by the standard
_MOST_FRACTION = 255  # of 8 bits; of no more than 0 every voxel would be inside


class DicomMasks:
    """Segmentation objects.

    Args:
        images: of the study, with `slices`.
    """

    def __init__(self, images: ImageSpec) -> None:
        self._images = images

    def facts(self, data: bytes) -> Facts:
        """Read the header: `series` is the one that the segmentation is about.

        Raises:
            SetAside: another object, or about no series or several.
        """
        return segmentation_facts(*read_header(data))

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """None: a segmentation by itself is no image.

        Raises:
            SetAside: always.
        """
        raise SetAside(Reason.OTHER_OBJECT)

    def placed(
        self, data: bytes, segments: Segments, scan: Scan, shifts_mm: Sequence[tuple[float, float]]
    ) -> Iterator[Pixels]:
        """The numbers of structures on the study's grid.

        Args:
            data: the file.
            segments: which of them are what, and where the volume's slices lie.
            scan: the voxels that its slices make.
            shifts_mm: how far each slice lies from the scan's axis; none if all lie on it.

        Raises:
            SetAside: a frame lies in none of the slices, or two structures lie at one place.
        """
        dataset = read_whole(data)
        assembly = Assembly(scan, self._images, nearest=True)
        for number, mask in enumerate(_drawn(dataset, segments, scan)):
            assembly.add(mask, shift_mm=shifts_mm[number] if shifts_mm else (0.0, 0.0))
        yield assembly.volume()[0].astype(np.uint16)


def segmentation_facts(header: Dataset, has_pixels: bool) -> Facts:
    """The segments of an object, and the one series that it is about.

    Raises:
        SetAside: another object, or about no series or several.
    """
    if header.get("SOPClassUID") != SegmentationStorage or not has_pixels:
        raise SetAside(Reason.OTHER_OBJECT)
    series = {str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence") or ()}
    if len(series) != 1 or header.SegmentationType not in ("BINARY", "FRACTIONAL"):
        raise SetAside(Reason.OTHER_OBJECT)
    segments = tuple(
        Segment(int(item.SegmentNumber), str(item.get("SegmentLabel") or "")[:_MOST_LABEL])
        for item in header.SegmentSequence
    )
    return Facts(series=series.pop()[:_MOST_LABEL], segments=segments)


def _drawn(dataset: Dataset, segments: Segments, scan: Scan) -> NDArray[np.uint8]:
    """(slices, rows, columns): the structure of each voxel."""
    structures, drawn = dict(segments.structures), np.zeros(scan.counts, np.uint8)
    for frame, (stored, plane) in enumerate(_frames(dataset)):
        structure = structures.get(segment_number(dataset, frame), 0)
        at, filled = _slice_of(plane, segments, limit_mm=TOLERANCE * min(scan.spacing_mm)), inside(stored, dataset)
        if structure and (filled & (drawn[at] > 0) & (drawn[at] != structure)).any():
            raise SetAside(Reason.MASK_UNKNOWN)
        drawn[at][filled & (structure > 0)] = structure
    return drawn


def _frames(dataset: Dataset) -> Iterator[tuple[NDArray[Any], Plane]]:
    """What is stored, frame by frame, and where each lies."""
    stored = stored_masks(dataset)
    yield from zip(stored, planes_of(dataset, len(stored)), strict=True)


def stored_masks(dataset: Dataset) -> NDArray[Any]:
    """(frames, rows, columns) as they are stored.

    Raises:
        SetAside: they are too many or too large.
    """
    count, size = int(dataset.NumberOfFrames), int(dataset.Rows) * int(dataset.Columns)
    if count > MAX_FRAMES or size > MAX_PIXELS or count * size > MAX_VOXELS:
        raise SetAside(Reason.TOO_LARGE)
    # As a whole: frames of one bit a pixel need not begin with a byte, and one by one pydicom takes them for such.
    return np.asarray(pixel_array(dataset).reshape(count, int(dataset.Rows), int(dataset.Columns)))


def segment_number(dataset: Dataset, frame: int) -> int:
    """Which segment a frame is of."""
    groups = (dataset.PerFrameFunctionalGroupsSequence[frame], *dataset.get("SharedFunctionalGroupsSequence", ()))
    said = next(group for group in groups if "SegmentIdentificationSequence" in group)
    return int(said.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _slice_of(plane: Plane, segments: Segments, *, limit_mm: float) -> int:
    """The slice that a frame lies in, no corner further away than the limit."""
    if plane.counts != segments.plane.counts:
        raise SetAside(Reason.MASK_SIZE)
    corners = np.array(segments.positions_mm)[:, None] + segments.plane.reach_mm  # (slices, 4, 3)
    apart = np.linalg.norm(corners - plane.position_mm - plane.reach_mm, axis=2).max(axis=1)
    if plane.frame != segments.plane.frame or apart.min() > limit_mm:
        raise SetAside(Reason.MASK_ELSEWHERE)
    return int(apart.argmin())


def inside(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Which places of a frame belong to its segment: its bits, or those that are filled by half or more.

    Raises:
        SetAside: the fractions are of nothing.
    """
    most = int(dataset.get("MaximumFractionalValue") or 0) if dataset.SegmentationType == "FRACTIONAL" else 1
    if not 1 <= most <= _MOST_FRACTION:
        raise SetAside(Reason.MASK_UNKNOWN)
    return np.asarray(stored.astype(np.int64) * 2 >= most)
