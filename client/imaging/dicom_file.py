"""From the bytes of a file to a DICOM header or data set, whole or without the pixels.

Decides which bytes are taken for DICOM, also where the preamble or the file meta information is missing
(PS3.10 7.1), which encoding such a file has, and how large a deflated one may become. What the
object is and what its pixels mean is left to `dicom_kind` and `dicom_frames`.
"""

import zlib
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client.imaging.form import MAX_FILE_BYTES
from client.imaging.reasons import Reason, SetAside

_PIXEL_GROUP = 0x7FE0
_PREAMBLE_BYTES = 132  # 128 bytes and "DICM"
# Without a preamble a file begins with its first element: of the file meta information, or of group 8.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
_GUESSED = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


def read_header(data: bytes) -> tuple[Dataset, bool]:
    """A file's header, and whether pixels follow it; its file meta names a transfer syntax.

    Raises:
        SetAside: the bytes are not DICOM, or would inflate beyond the limit.
    """
    reached = []

    def at_pixels(tag: Any, _vr: str | None, _length: int) -> bool:
        if tag.group == _PIXEL_GROUP:
            reached.append(tag)
        return bool(tag.group >= _PIXEL_GROUP)

    _check_start(data)
    try:
        header = read_partial(BytesIO(data), stop_when=at_pixels, force=True)
    except InvalidDicomError:
        raise SetAside(Reason.NOT_AN_IMAGE) from None
    return _with_syntax(header), bool(reached)


def read_whole(data: bytes) -> Dataset:
    """A file's whole data set; `read_header` has accepted the bytes."""
    return _with_syntax(dcmread(BytesIO(data), force=True))


def _check_start(data: bytes) -> None:
    stream = BytesIO(data)
    if data[128:_PREAMBLE_BYTES] == b"DICM":
        stream.seek(_PREAMBLE_BYTES)
    elif data[:2] not in _FIRST_GROUPS:
        raise SetAside(Reason.NOT_AN_IMAGE)
    # A deflated data set is inflated as a whole by the reader, so its size is measured first.
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(data[stream.tell() :], MAX_FILE_BYTES)
        if inflater.unconsumed_tail:
            raise SetAside(Reason.TOO_LARGE)


def _with_syntax(dataset: Dataset) -> Dataset:
    """The same data set, its transfer syntax named as it was found where the file does not name it."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(_GUESSED[dataset.original_encoding])
    return dataset
