"""DICOM images as slices of volumes: what a slice's header must say, and a volume made of many files.

Decides what of a slice enters the volume: what was measured, in Hounsfield units in a CT, and nothing where the
header says padding. Which images make a volume, and where each lies, is left to `stacks`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat

from client.imaging.dicom import Dicom, checked
from client.imaging.dicom_display import is_grey, measured
from client.imaging.dicom_file import read_header, read_whole
from client.imaging.dicom_frames import stored_frames
from client.imaging.dicom_hounsfield import ct_window
from client.imaging.dicom_planes import planes_of
from client.imaging.form import Facts, Pixels
from client.imaging.grid import Assembly, Scan
from client.imaging.levels import Limits, clipped, levelled
from client.imaging.reasons import Reason, SetAside
from shared.images import ImageSpec


class DicomVolumes(Dicom):
    """The same files, as slices.

    Args:
        images: of the study, with `slices`.
    """

    def __init__(self, images: ImageSpec) -> None:
        super().__init__(images.hu)
        self._images = images

    def facts(self, data: bytes) -> Facts:
        """Read the header without the pixels, and where each frame lies.

        Raises:
            SetAside: not a DICOM image that can be a slice.
        """
        header, has_pixels = read_header(data)
        facts = checked(header, has_pixels, hu=self._images.hu)
        if not is_grey(header):
            raise SetAside(Reason.COLOUR_VOLUME)
        return replace(facts, planes=planes_of(header, facts.frames))

    def stacked(
        self, files: Iterable[tuple[bytes, Sequence[int]]], scan: Scan, shifts_mm: Sequence[tuple[float, float]]
    ) -> Iterator[Pixels | None]:
        """Make one volume.

        Args:
            files: the bytes of each, and which frames of it come next.
            scan: the voxels that all frames make.
            shifts_mm: how far each frame lies from the scan's axis; none if all lie on it.

        Yields:
            None after each frame, and the volume in the end.

        Raises:
            SetAside: a frame is not what its header said, or there is nothing to be seen.
        """
        assembly, shifts = Assembly(scan, self._images), iter(shifts_mm or repeat((0.0, 0.0)))
        limits: Limits | None = None
        for data, frames in files:
            dataset = read_whole(data)
            limits = ct_window(dataset, self._images.hu)
            for stored, meaning in stored_frames(dataset, frames):
                if stored.shape != scan.counts[1:]:
                    raise SetAside(Reason.UNREADABLE)
                values, valid = measured(stored, meaning)
                assembly.add(clipped(values, limits), valid=valid, shift_mm=next(shifts))
                yield None
        yield levelled(*assembly.volume(), limits)
