"""The segments of a DICOM segmentation: how its header names them, and how they become the mask of a volume.

Which structures of a study they are is left to `segment_names`, which voxels they fill to `dicom_masks`.
"""

from dataclasses import dataclass, field

from client.imaging.planes import Plane, Vector


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a file, as its header names it."""

    number: int
    label: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """What one frame of a segmentation is of: a segment, on an image and its frame from 0 on; None of all of it."""

    segment: int
    instance: str = field(repr=False)
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Segments:
    """How a segmentation becomes the mask of a volume.

    Attributes:
        structures: number of a segment, and of the structure that it is; both count from 1.
        plane: where one of the volume's slices lies.
        positions_mm: of the first voxel of each slice, in the volume's order.
    """

    structures: tuple[tuple[int, int], ...]
    plane: Plane
    positions_mm: tuple[Vector, ...] = field(repr=False)
