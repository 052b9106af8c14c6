"""DICOM segmentations (PS3.3 A.51) as masks of the single images that they were drawn on.

Decides what such an object says: which frame is of which segment, and of which frame of which image (Derivation Image
Functional Group, PS3.3 C.7.6.16.2.6). An object with a frame that names no image is no such mask: read with holes, it
would say that nothing is there. What is inside is decided as in `dicom_masks`, which segment is what in `image_masks`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from client.imaging.dicom_file import read_header, read_whole
from client.imaging.dicom_masks import inside, segment_number, segmentation_facts, stored_masks
from client.imaging.form import MAX_FRAMES, Facts, Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.segments import DrawnFrame

_MOST_UID = 64  # characters, by the standard


class DicomImageMasks:
    """Segmentation objects that name the images of their frames."""

    def facts(self, data: bytes) -> Facts:
        """Read the header: what each frame is of, and which images the object is about, drawn on or not.

        Raises:
            SetAside: another object, or one that does not say.
        """
        header, has_pixels = read_header(data)
        facts = segmentation_facts(header, has_pixels)
        count = int(header.NumberOfFrames)
        if count > MAX_FRAMES:
            raise SetAside(Reason.TOO_LARGE)
        try:
            drawn = tuple(_drawn(header, number) for number in range(count))
        except (AttributeError, IndexError, TypeError, ValueError):
            raise SetAside(Reason.OTHER_OBJECT) from None
        (series,) = header.ReferencedSeriesSequence
        named = [str(item.ReferencedSOPInstanceUID) for item in series.get("ReferencedInstanceSequence") or ()]
        images = dict.fromkeys([*named[:MAX_FRAMES], *(frame.instance for frame in drawn)])
        return replace(facts, frames=count, drawn=drawn, images=tuple(uid[:_MOST_UID] for uid in images))

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Of each frame 1 inside of its segment, else 0.

        Raises:
            SetAside: it is too large, or its fractions are of nothing.
        """
        dataset = read_whole(data)
        stored = stored_masks(dataset)
        yield from (inside(stored[number], dataset).astype(np.uint16) for number in frames)


def _drawn(header: Dataset, frame: int) -> DrawnFrame:
    groups = (header.PerFrameFunctionalGroupsSequence[frame], *(header.get("SharedFunctionalGroupsSequence") or ()))
    derived = next((group.DerivationImageSequence for group in groups if group.get("DerivationImageSequence")), ())
    (source,) = {
        (str(source.ReferencedSOPInstanceUID)[:_MOST_UID], source.get("ReferencedFrameNumber"))
        for item in derived
        for source in item.SourceImageSequence
    }
    uid, number = source
    return DrawnFrame(segment_number(header, frame), uid, None if number is None else int(number) - 1)
