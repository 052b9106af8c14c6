"""DICOM images, single-frame and multi-frame, read with pydicom.

Decides the order of the checks on one file: bytes, object, pixels, size, codec, colour. Each question has a
module of its own: `dicom_file`, `dicom_kind`, `dicom_syntax`, `dicom_frames`, `dicom_display`,
`dicom_hounsfield`. A frame of a
multi-frame object is an image of its own, as a slice of a series is.
"""

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from client.imaging.dicom_display import display
from client.imaging.dicom_file import read_header, read_whole
from client.imaging.dicom_frames import stored_frames
from client.imaging.dicom_hounsfield import ct_window, in_hounsfield
from client.imaging.dicom_kind import about, unfit_object
from client.imaging.dicom_syntax import decodable
from client.imaging.extent import LARGEST_MM, Extent
from client.imaging.form import MAX_FRAMES, MAX_PIXELS, Facts, Pixels
from client.imaging.levels import Limits
from client.imaging.reasons import Reason, SetAside
from client.imaging.traits import Traits, traits_of_header

_SAMPLES = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3),
}
_MAX_TEXT = 1024  # characters of an identifier; the standard allows 64


class Dicom:
    """The DICOM file format (PS3.10).

    Args:
        hu: the study's window, where it asks for CT in Hounsfield units.
    """

    def __init__(self, hu: Limits | None = None) -> None:
        self._hu = hu

    def facts(self, data: bytes) -> Facts:
        """Read the header without the pixels.

        Raises:
            SetAside: not a DICOM image that `pixels` can decode.
        """
        return checked(*read_header(data), hu=self._hu)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Decode some frames to display values.

        Raises:
            SetAside: the values are not finite.
        """
        dataset = read_whole(data)
        limits = ct_window(dataset, self._hu)
        for stored, meaning in stored_frames(dataset, frames):
            yield display(stored, meaning, limits)


def checked(header: Dataset, has_pixels: bool, *, hu: Limits | None) -> Facts:
    """What a header says, if its pixels can be images of a study.

    Raises:
        SetAside: they cannot.
    """
    syntax = _check_image(header, has_pixels=has_pixels)
    if hu is not None and not in_hounsfield(header):
        raise SetAside(Reason.NO_HOUNSFIELD)
    return Facts(
        patient=_text(header, "PatientID"),
        birth=_text(header, "PatientBirthDate"),
        sex=_text(header, "PatientSex").upper(),
        accession=_text(header, "AccessionNumber"),
        exam=_text(header, "StudyInstanceUID"),
        series=_text(header, "SeriesInstanceUID"),
        instance=_text(header, "SOPInstanceUID"),
        frames=_frames(header),
        about=about(header, syntax=syntax),
        extent=Extent((1, int(header.Rows), int(header.Columns)), (None, *_spacing(header))),
        traits=_traits(header),
    )


def _check_image(header: Dataset, *, has_pixels: bool) -> str:
    if reason := unfit_object(header):
        raise SetAside(reason)
    if not has_pixels:
        raise SetAside(Reason.NO_PIXELS)
    if int(header.Rows) * int(header.Columns) > MAX_PIXELS or _frames(header) > MAX_FRAMES:
        raise SetAside(Reason.TOO_LARGE)
    syntax = decodable(header)
    if _SAMPLES.get(_text(header, "PhotometricInterpretation")) != int(header.SamplesPerPixel):
        raise SetAside(Reason.COLOUR_UNKNOWN)
    return syntax


def _spacing(header: Dataset) -> tuple[float | None, float | None]:
    """Millimetres from row to row and column to column, in the patient or, of a projection, on the detector."""
    try:
        down, across = (float(mm) for mm in header.get("PixelSpacing") or header["ImagerPixelSpacing"].value)
    except (KeyError, TypeError, ValueError, OverflowError):  # absent or malformed; the image is read all the same
        return None, None
    return (down, across) if 0 < down <= LARGEST_MM and 0 < across <= LARGEST_MM else (None, None)


def _traits(header: Dataset) -> Traits:
    sex, age, birth, day = (
        _text(header, name) for name in ("PatientSex", "PatientAge", "PatientBirthDate", "StudyDate")
    )
    return traits_of_header(sex=sex, age=age, birth=birth, day=day)


def _frames(header: Dataset) -> int:
    return max(1, int(header.get("NumberOfFrames") or 1))


def _text(header: Dataset, keyword: str) -> str:
    text = str(header.get(keyword) or "").strip()
    if len(text) > _MAX_TEXT:
        raise SetAside(Reason.UNREADABLE)
    return text
