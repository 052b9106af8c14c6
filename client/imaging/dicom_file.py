"""From the bytes of a file to a DICOM header or data set, whole or without the pixels.

Decides which bytes are taken for DICOM, also where the preamble or the file meta information is missing
(PS3.10 7.1), which encoding such a file has, and how large a deflated one may become. What the
object is and what its pixels mean is left to `dicom_kind` and `dicom_frames`.
"""

import zlib
from collections.abc import Callable
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
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
_MAX_ELEMENTS = 2**16  # outside sequences; a header has some hundreds
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
        SetAside: the bytes are not DICOM, would inflate beyond the limit, or hold more elements than it.
    """
    until = _Until(lambda tag, _before: tag.group >= _PIXEL_GROUP)
    _check_start(data)
    try:
        header = read_partial(BytesIO(data), stop_when=until, force=True)
    except InvalidDicomError:
        raise SetAside(Reason.NOT_AN_IMAGE) from None
    return _with_syntax(header), until.tag is not None and until.tag.group == _PIXEL_GROUP


def read_whole(data: bytes) -> Dataset:
    """A file's data set with its pixels, the last that an image needs; `read_header` has accepted the bytes.

    Raises:
        SetAside: it holds more elements than the limit.
    """
    return _with_syntax(read_partial(BytesIO(data), stop_when=_Until(_past_pixels), force=True))


def _past_pixels(tag: BaseTag, before: BaseTag | None) -> bool:
    return bool(tag.group > _PIXEL_GROUP or (before is not None and before.group == _PIXEL_GROUP != tag.group))


class _Until:
    """Ends the reading of a data set before an element, and at too many of them.

    Args:
        ends: whether to, by the element's tag and that of the one before.
    """

    def __init__(self, ends: Callable[[BaseTag, BaseTag | None], bool]) -> None:
        self._ends = ends
        self._left = _MAX_ELEMENTS
        self.tag: BaseTag | None = None

    def __call__(self, tag: BaseTag, _vr: str | None, _length: int) -> bool:
        before, self.tag = self.tag, tag
        self._left -= 1
        if self._left < 0:
            raise SetAside(Reason.TOO_LARGE)
        return self._ends(tag, before)


def _check_start(data: bytes) -> None:
    stream = BytesIO(data)
    if data[128:_PREAMBLE_BYTES] == b"DICM":
        stream.seek(_PREAMBLE_BYTES)
    elif data[:2] not in _FIRST_GROUPS:
        raise SetAside(Reason.NOT_AN_IMAGE)
    meta = read_dataset(stream, False, True, stop_when=_Until(lambda tag, _: tag.group != 2))
    # A deflated data set is inflated as a whole by the reader, so its size is measured first.
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(data[stream.tell() :], MAX_FILE_BYTES)
        if inflater.unconsumed_tail:
            raise SetAside(Reason.TOO_LARGE)
    else:  # the reader takes elements of group 0 for a command, without end
        read_dataset(stream, True, True, stop_when=_Until(lambda tag, _: tag.group != 0))


def _with_syntax(dataset: Dataset) -> Dataset:
    """The same data set, its transfer syntax named as it was found where the file does not name it."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(_GUESSED[dataset.original_encoding])
    return dataset
