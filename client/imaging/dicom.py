"""Single-frame 2D DICOM images, read with pydicom.

Decides which DICOM files are images that we can decode, and how stored values become display values:
modality transform, first VOI LUT or window, MONOCHROME1 inverted, padding black (PS3.3 C.7.6.3,
C.11.1, C.11.2). Multi-frame objects and compressed transfer syntaxes other than RLE are set aside.
"""

import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from client.imaging.catalogue import Reason, SetAside
from client.imaging.folder import MAX_FILE_BYTES, MAX_PIXELS, Facts, Pixels
from client.imaging.labels import Key
from client.imaging.window import stretch, to_uint16, usable_window, window

_DECODED = frozenset(
    {
        *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
        *(ExplicitVRBigEndian, RLELossless),
    }
)
_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3}
_PIXEL_GROUP = 0x7FE0
_PREAMBLE_BYTES = 132  # PS3.10 7.1: 128 bytes and "DICM"


class Dicom:
    """The DICOM file format (PS3.10)."""

    source = "dicom"
    keys: tuple[Key, ...] = ("file", "accession", "patient")

    def facts(self, data: bytes) -> Facts:
        """Read the header without the pixels.

        Raises:
            SetAside: not a DICOM image that `pixels` can decode.
        """
        if data[128:_PREAMBLE_BYTES] != b"DICM":
            raise SetAside(Reason.NOT_AN_IMAGE)
        syntax = _bounded_syntax(data)
        header, has_pixels = _header(data)
        _check_image(header, has_pixels=has_pixels, syntax=syntax)
        return Facts(
            patient=_text(header, "PatientID"),
            accession=_text(header, "AccessionNumber"),
            exam=_text(header, "StudyInstanceUID"),
            series=_text(header, "SeriesInstanceUID"),
            instance=_text(header, "SOPInstanceUID"),
        )

    def pixels(self, data: bytes) -> Pixels:
        """Decode to display values.

        Raises:
            SetAside: the values are not finite.
        """
        dataset = dcmread(BytesIO(data))
        stored = pixel_array(dataset, index=0)
        if dataset.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
            return _grey(stored, dataset)
        return _colour(stored, dataset)


def _bounded_syntax(data: bytes) -> str:
    # A deflated data set is inflated as a whole by the reader, so its size is measured first.
    stream = BytesIO(data)
    stream.seek(_PREAMBLE_BYTES)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(data[stream.tell() :], MAX_FILE_BYTES)
        if inflater.unconsumed_tail:
            raise SetAside(Reason.TOO_LARGE)
    return syntax


def _header(data: bytes) -> tuple[Dataset, bool]:
    reached = []

    def at_pixels(tag: Any, _vr: str | None, _length: int) -> bool:
        if tag.group == _PIXEL_GROUP:
            reached.append(tag)
        return bool(tag.group >= _PIXEL_GROUP)

    try:
        return read_partial(BytesIO(data), stop_when=at_pixels), bool(reached)
    except InvalidDicomError:
        raise SetAside(Reason.NOT_AN_IMAGE) from None


def _check_image(header: Dataset, *, has_pixels: bool, syntax: str) -> None:
    if not has_pixels:
        raise SetAside(Reason.NO_PIXELS)
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise SetAside(Reason.MULTI_FRAME)
    if int(header.Rows) * int(header.Columns) > MAX_PIXELS:
        raise SetAside(Reason.TOO_LARGE)
    if not syntax:
        raise SetAside(Reason.UNREADABLE)
    if syntax not in _DECODED:
        raise SetAside(Reason.CODEC_MISSING)
    if _SAMPLES.get(_text(header, "PhotometricInterpretation")) != int(header.SamplesPerPixel):
        raise SetAside(Reason.COLOUR_UNKNOWN)


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()


def _grey(stored: NDArray[Any], dataset: Dataset) -> Pixels:
    values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    if not np.isfinite(values).all():
        raise SetAside(Reason.UNREADABLE)
    padding = _padding(stored, dataset)
    shares = _display(values, dataset, valid=~padding)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    shares[padding] = 0
    return to_uint16(shares)


def _display(values: NDArray[np.float64], dataset: Dataset, *, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        entries = np.rint(values).astype(np.int64)  # a LUT is looked up by whole numbers
        return np.asarray(apply_voi(entries, dataset, index=0) / (2**bits - 1), dtype=np.float64)
    function = _text(dataset, "VOILUTFunction") or "LINEAR"
    center, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if center is None or width is None or not usable_window(center=center, width=width, function=function):
        return stretch(values, valid=valid)
    return window(values, center=center, width=width, function=function)


def _first(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    # PS3.3 C.7.5.1.1.2: one value, or the range up to the limit, in stored values.
    ends = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [_as_stored(int(end), dataset) for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    return np.asarray((stored >= min(known)) & (stored <= max(known)))


def _as_stored(value: int, dataset: Dataset) -> int:
    # Some writers give a signed padding value an unsigned VR.
    bits = int(dataset.BitsAllocated)
    return value - 2**bits if dataset.PixelRepresentation == 1 and value >= 2 ** (bits - 1) else value


def _colour(stored: NDArray[Any], dataset: Dataset) -> Pixels:
    top = 2 ** int(dataset.BitsStored) - 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        top = np.iinfo(stored.dtype).max
    return to_uint16(stored[..., :3].astype(np.float64) / top)
