"""The frames of a DICOM image, as real-world values with the words of their own header.

Decides which elements speak about one frame: in an enhanced object those of the frame's functional groups,
then those shared by all frames, then those of the image (PS3.3 C.7.6.16). Decoding is pydicom's; what is
made of the values is left to `dicom_display`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

_COLOURS = ("Red", "Green", "Blue")
_ABOUT_PIXELS = (
    *("PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)
_PER_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")  # PS3.3 C.7.6.16.2.9 and .10


def stored_frames(dataset: Dataset, frames: Sequence[int]) -> Iterator[tuple[NDArray[Any], Dataset]]:
    """Decode some frames of an image, one at a time.

    Args:
        dataset: the whole image.
        frames: which, counted from 0, in any order.

    Yields:
        Stored values, (rows, columns) or (rows, columns, 3), colours as RGB; and the elements that say what
        they mean in this frame.
    """
    for number, stored in zip(frames, iter_pixels(dataset, indices=frames), strict=True):
        yield stored, meaning_of(dataset, number)


def meaning_of(dataset: Dataset, frame: int) -> Dataset:
    """The elements that say what the pixels of one frame mean."""
    meaning = Dataset()
    meaning.file_meta = dataset.file_meta  # a look-up table in bytes is read in the file's byte order
    for keyword in _ABOUT_PIXELS:
        if keyword in dataset:
            meaning[keyword] = dataset[keyword]
    for group in _groups(dataset, frame):
        for macro in _PER_FRAME:
            for element in (group.get(macro) or [Dataset()])[0]:
                meaning[element.tag] = element
    return meaning


def _groups(dataset: Dataset, frame: int) -> Iterator[Dataset]:
    """The functional groups that speak about a frame, the last word last."""
    yield from (dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    yield from (dataset.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
