"""What one kind of image file is to the rest: a header and frames.

Decides the limits on a file and the types that cross from the formats (`dicom`, `pictures`) to the folder
that they lie in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from client.imaging.about import About
from client.imaging.extent import Extent
from client.imaging.grid import Scan
from client.imaging.lattice import Lattice
from client.imaging.planes import Plane
from client.imaging.segments import DrawnFrame, Segment, Segments
from client.imaging.traits import Traits

# (height, width) or (height, width, 3); (slices, size_px, size_px) in a study of volumes. 0..65535 spans the window.
Pixels = NDArray[np.uint16]
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 2**25  # of one image; a 5k x 5k mammogram has 2.5e7
MAX_FRAMES = 4096  # of one file; a perfusion CT in one enhanced object has some thousands
MAX_VOXELS = 2**29  # of one volume; a CT of 1000 slices has half as many
MIN_SLICES = 3  # of a volume; fewer have no spacing that could be checked


@dataclass(frozen=True)
class Facts:
    """What a file's header says; empty where it says nothing.

    Attributes:
        patient, birth, sex, accession, exam, series, instance: identifiers, so never logged.
        traits: to which subgroups the patient belongs.
        frames: images in the file.
        about: how they were made.
        planes: where each image lies in the patient, if a study of volumes asks.
        lattice: where the voxels of a volume lie that is one file.
        extent: how large an image is that has no lattice.
        segments, drawn, images: of a segmentation, what its frames are of, and the images that it is about.
    """

    patient: str = field(default="", repr=False)
    birth: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    exam: str = field(default="", repr=False)
    series: str = field(default="", repr=False)
    instance: str = field(default="", repr=False)
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = 1
    about: About = field(default_factory=About)
    planes: tuple[Plane, ...] = ()
    lattice: Lattice | None = None
    extent: Extent | None = None
    segments: tuple[Segment, ...] = ()
    drawn: tuple[DrawnFrame, ...] = ()
    images: tuple[str, ...] = field(default=(), repr=False)
    traits: Traits = field(default_factory=Traits, repr=False)

    @property
    def scan(self) -> Scan | None:
        """The voxels of a volume that is one file."""
        return None if self.lattice is None else self.lattice.scan

    @property
    def size(self) -> Extent | None:
        """How large an image is, if the header says so."""
        return self.extent if self.scan is None else Extent(*self.scan.upright)


class Format(Protocol):
    """How one kind of file is read. Its methods raise `SetAside`, or anything on hostile bytes."""

    def facts(self, data: bytes) -> Facts:
        """Read the header and check that `pixels` can be asked."""
        ...

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Decode some frames of the file, in the order asked for."""
        ...


@runtime_checkable
class Stacking(Format, Protocol):
    """A format whose volumes are made of many files."""

    def stacked(
        self, files: Iterable[tuple[bytes, Sequence[int]]], scan: Scan, shifts_mm: Sequence[tuple[float, float]]
    ) -> Iterator[Pixels | None]:
        """None after each frame of the files, and the volume in the end (`dicom_volume`)."""
        ...


@runtime_checkable
class Placing(Format, Protocol):
    """A format of masks that are placed among the slices of a volume."""

    def placed(
        self, data: bytes, segments: Segments, scan: Scan, shifts_mm: Sequence[tuple[float, float]]
    ) -> Iterator[Pixels]:
        """The mask of one volume (`dicom_masks`)."""
        ...
