"""Masks of DICOM images as a DICOM SEG (PS3.3 A.51): one bit for each place, one frame for each image and structure.

Decides what stands in it: each structure as a segment that was found automatically, by which model, and of each frame
the image that it is of and where that lies in the patient. All images are of one series, size and orientation. Frames
in which a structure is not found are left out. The names of structures are the study's and have no code, so that a
segment's type bears the name in a scheme of ours, under the broadest category that there is. Whether it may be stored
in a PACS, `client/cli/store.py` decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, SegmentationStorage

from client.imaging.derived_object import OURS, as_file, code, derived, item_of, uid_of
from client.imaging.dicom_file import read_header
from client.imaging.dicom_planes import planes_of, thickness_mm
from client.imaging.outline import Mask
from client.imaging.planes import Plane
from client.imaging.reasons import SetAside

_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_METHODS = {  # PS3.3 C.7.6.1.1.5.1: what a transfer syntax loses by, where a header does not say it
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit), "ISO_10918_1"),
    **{JPEGLSNearLossless: "ISO_14495_1", JPEG2000: "ISO_15444_1"},
}


@dataclass(frozen=True)
class Source:
    """The header of a file of the exam, and the file's SHA-256."""

    elements: Dataset = field(repr=False)
    sha256: str


@dataclass(frozen=True)
class SegmentedFrame:
    """One image, its file's header and its number there, with its mask."""

    source: Source
    frame: int
    mask: Mask = field(repr=False)

    @property
    def header(self) -> Dataset:
        """The elements of the file."""
        return self.source.elements

    @cached_property
    def plane(self) -> Plane | None:
        """Where it lies in the patient; None if the header does not say."""
        try:
            return planes_of(self.header, self.frame + 1)[self.frame]
        except SetAside:
            return None

    def goes_with(self, other: "SegmentedFrame") -> bool:
        """Whether two images share an object: they are of one series and size, and lie alike up to rounding."""
        if (self.header.SeriesInstanceUID, self.mask.shape) != (other.header.SeriesInstanceUID, other.mask.shape):
            return False
        if self.plane is None or other.plane is None:
            return self.plane is other.plane
        return self.plane.rounds_to(other.plane)


@dataclass(frozen=True)
class SegmentationWords:
    """What the object says, besides whom it is about."""

    notice: str
    structures: Sequence[str]
    model: str
    study: str
    version: str
    made: datetime


def source_of(data: bytes) -> Source:
    """Read what an object needs; the decoder has read these very bytes within its limits."""
    header, _ = read_header(data)
    return Source(header, sha256(data).hexdigest())


def segmentation_object(images: Sequence[SegmentedFrame], words: SegmentationWords) -> bytes:
    """The masks as a DICOM file.

    Args:
        images: at least one, of one series, size and orientation, with their masks.
        words: what it says.
    """
    first, plane = images[0].header, images[0].plane
    found = derived(
        first,
        sop_class=SegmentationStorage,
        modality="SEG",
        notice=words.notice,
        model=words.model,
        files=[f"{image.source.sha256} {image.frame}" for image in images],
        version=words.version,
        made=words.made,
    )
    found.ImageType, found.ContentLabel = ["DERIVED", "PRIMARY"], "SEGMENTATION"
    found.ContentDescription, found.ContentCreatorName = words.notice, "Wardround^Predict"
    found.SegmentationType, found.SegmentsOverlap = "BINARY", "NO"
    found.SegmentSequence = [_segment(number, name, words) for number, name in enumerate(words.structures, 1)]
    if plane is not None:
        found.FrameOfReferenceUID, found.PositionReferenceIndicator = plane.frame, ""
    else:
        found.PatientOrientation = first.get("PatientOrientation", "")
    found.LossyImageCompression = "00"
    for name, value in _lossy(first) if first.get("LossyImageCompression") == "01" else ():
        setattr(found, name, value)
    found.ReferencedSeriesSequence = [_referenced(images)]
    shown = [
        (number, at, image)
        for number in range(1, len(words.structures) + 1)
        for at, image in enumerate(images, 1)
        if (image.mask == number).any()
    ]
    _fill(found, shown or [(1, 1, images[0])], plane)
    return as_file(found)


def _lossy(header: Dataset) -> Iterator[tuple[str, object]]:
    """What is known of an image's compression."""
    for name in _LOSSY:
        if value := header.get(name):
            yield name, value
        elif name == _LOSSY[-1] and (method := _METHODS.get(header.file_meta.get("TransferSyntaxUID", ""))):
            yield name, method


def _segment(number: int, name: str, words: SegmentationWords) -> Dataset:
    by = item_of(
        AlgorithmFamilyCodeSequence=[code("123109", "DCM", "Artificial Intelligence")],
        AlgorithmName=words.study[:64],
        AlgorithmVersion=words.model,
    )
    return item_of(
        SegmentNumber=number,
        SegmentLabel=name[:64],
        SegmentDescription=words.notice,
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=words.study[:64],
        SegmentationAlgorithmIdentificationSequence=[by],
        SegmentedPropertyCategoryCodeSequence=[code("309825002", "SCT", "Spatial and Relational Concept")],
        SegmentedPropertyTypeCodeSequence=[code(f"S{number}", OURS, name)],
    )


def _referenced(images: Sequence[SegmentedFrame]) -> Dataset:
    """The images by their series (PS3.3 C.12.2)."""
    each = {str(image.header.SOPInstanceUID): image.header.SOPClassUID for image in images}
    items = [item_of(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=uid) for uid, kind in each.items()]
    return item_of(SeriesInstanceUID=images[0].header.SeriesInstanceUID, ReferencedInstanceSequence=items)


def _fill(found: Dataset, shown: Sequence[tuple[int, int, SegmentedFrame]], plane: Plane | None) -> None:
    """The frames, their pixels, and what is said of all and of each (PS3.3 C.7.6.16 and C.7.6.17)."""
    organization = uid_of("dimensions", str(found.SOPInstanceUID))
    found.DimensionOrganizationSequence = [item_of(DimensionOrganizationUID=organization)]
    found.DimensionIndexSequence = [
        item_of(DimensionOrganizationUID=organization, DimensionIndexPointer=Tag(at), FunctionalGroupPointer=Tag(group))
        for at, group in (
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            ("InStackPositionNumber", "FrameContentSequence"),
        )
    ]
    found.SharedFunctionalGroupsSequence = [_of_all(shown[0][2], plane)]
    found.PerFrameFunctionalGroupsSequence = [_of_frame(number, at, image) for number, at, image in shown]
    found.Rows, found.Columns = shown[0][2].mask.shape
    found.NumberOfFrames = len(shown)
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 1, 1, 0
    bits = np.packbits(np.stack([image.mask == number for number, _, image in shown]), axis=None, bitorder="little")
    found.add_new("PixelData", "OB", bits.tobytes() + b"\0" * (len(bits) % 2))


def _of_all(image: SegmentedFrame, plane: Plane | None) -> Dataset:
    if plane is None:
        return Dataset()
    thickness = thickness_mm(image.header, image.frame) or min(plane.spacing_mm)
    measures = item_of(PixelSpacing=[_decimal(step) for step in plane.spacing_mm], SliceThickness=_decimal(thickness))
    orientation = item_of(ImageOrientationPatient=[_decimal(part) for part in (*plane.across, *plane.down)])
    return item_of(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _of_frame(number: int, at: int, image: SegmentedFrame) -> Dataset:
    source = item_of(
        ReferencedSOPClassUID=image.header.SOPClassUID,
        ReferencedSOPInstanceUID=image.header.SOPInstanceUID,
        SpatialLocationsPreserved="YES",
        PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
    )
    if image.header.get("NumberOfFrames"):
        source.ReferencedFrameNumber = image.frame + 1
    derivation = item_of(DerivationCodeSequence=[code("113076", "DCM", "Segmentation")], SourceImageSequence=[source])
    content = item_of(StackID="1", InStackPositionNumber=at, DimensionIndexValues=[number, at])
    group = item_of(
        FrameContentSequence=[content],
        DerivationImageSequence=[derivation],
        SegmentIdentificationSequence=[item_of(ReferencedSegmentNumber=number)],
    )
    if (plane := image.plane) is not None:
        position = item_of(ImagePositionPatient=[_decimal(part) for part in plane.position_mm])
        group.PlanePositionSequence = [position]
    return group


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5, 6.2)."""
    return next(text for digits in range(16, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)
