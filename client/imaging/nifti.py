"""NIfTI volumes, single files of version 1 and 2, compressed or not, read with nibabel.

Decides from the header, and then from the voxels, what a volume is; the first that applies:

1. A pair of files, ANALYZE, or another magic is no NIfTI file of ours; a volume that would inflate beyond the limit is
   too large.
2. Colours and complex numbers are set aside; so are vectors (a fifth axis), statistical maps and labels, as the intent
   code says (nifti1.h).
3. A volume that names neither a qform nor an sform does not say which side is left.
4. One value throughout is an empty mask or an empty scan; two values are a mask, whatever the header says.

The images of a volume are its axial slices from the feet up, one volume in time after the other: the patient's right
on the left and the front on top, as radiologists look at them, with square pixels. The values of all slices share
one window, the spread of the whole. The reader of MONAI reads by way of nibabel, too, but brings torch along,
which a process that decodes has no memory for.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.imaging.about import About
from client.imaging.form import MAX_FRAMES, MAX_PIXELS, Facts, Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.window import spread, stretch_limits, to_uint16

_GZIP = b"\x1f\x8b"
_MAX_BYTES = 2**29  # inflated; a CT of 1000 slices fits
_KINDS = {  # bytes of the header -> where the magic stands, the magic, the name, the class
    348: (344, b"n+1\x00", "nifti_1", nibabel.Nifti1Image),
    540: (4, b"n+2\x00", "nifti_2", nibabel.Nifti2Image),
}
_INTENT_LABEL = 1002
_INTENT_STATISTICS = range(2, 25)
_SAMPLE = 2**20  # voxels that the window is taken from
_SQUARE = 0.01  # edges of a pixel that differ by less are equal


class Nifti:
    """NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz)."""

    def facts(self, data: bytes) -> Facts:
        """Read the header and look at the voxels.

        Raises:
            SetAside: no volume that `pixels` can make images of.
        """
        volume, name = _opened(data)
        _check_kind(volume)
        slices = _upright(volume)
        if len(slices) > MAX_FRAMES or slices[0].size > MAX_PIXELS:
            raise SetAside(Reason.TOO_LARGE)
        _check_values(slices)
        return Facts(frames=len(slices), about=About(syntax=name))

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Axial slices, black and white at the 0.5th and 99.5th percentile of the whole volume.

        Raises:
            SetAside: the values are not finite, or the voxels have no size.
        """
        volume, _ = _opened(data)
        slices = _upright(volume)
        slope, inter = float(volume.dataobj.slope), float(volume.dataobj.inter)
        low, high = stretch_limits(_sample(slices) * slope + inter)
        heights, widths = _spacing(volume)
        for number in frames:
            values = slices[number].astype(np.float64) * slope + inter
            if not np.isfinite(values).all():
                raise SetAside(Reason.UNREADABLE)
            yield to_uint16(_square_pixels(spread(values, low, high), height_mm=heights, width_mm=widths))


def _opened(data: bytes) -> tuple[Any, str]:
    """The volume, its voxels not yet read, and the name of its format."""
    if data[:2] == _GZIP:
        try:
            data = gzip.GzipFile(fileobj=BytesIO(data)).read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            raise SetAside(Reason.UNREADABLE) from None
    if len(data) > _MAX_BYTES:
        raise SetAside(Reason.TOO_LARGE)
    sizes = [struct.unpack(order, data[:4])[0] for order in ("<i", ">i") if len(data) >= 4]
    at, magic, name, kind = next((_KINDS[size] for size in sizes if size in _KINDS), (0, b"", "", None))
    if kind is None or data[at : at + 4] != magic:
        raise SetAside(Reason.NOT_AN_IMAGE)
    return kind.from_bytes(data), name


def _check_kind(volume: Any) -> None:
    dtype, shape, header = volume.get_data_dtype(), volume.shape, volume.header
    if dtype.fields is not None:  # RGB24 and RGBA32
        raise SetAside(Reason.COLOUR_VOLUME)
    intent = int(header["intent_code"])
    no_picture = intent == _INTENT_LABEL or intent in _INTENT_STATISTICS or dtype.kind not in "iuf"
    if no_picture or len(shape) > 4 + shape[4:].count(1):
        raise SetAside(Reason.OTHER_OBJECT)
    if len(shape) < 2 or min(shape) < 1:
        raise SetAside(Reason.NO_PIXELS)
    if not (int(header["qform_code"]) or int(header["sform_code"])):
        raise SetAside(Reason.SIDE_UNKNOWN)


def _check_values(slices: NDArray[Any]) -> None:
    low, high = slices.min(), slices.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SetAside(Reason.UNREADABLE)
    if low == high:
        raise SetAside(Reason.EMPTY_VOLUME)
    if all(((values == low) | (values == high)).all() for values in slices):
        raise SetAside(Reason.OTHER_OBJECT)


def _upright(volume: Any) -> NDArray[Any]:
    """Stored values as (time and slices, rows, columns): back to front down, the patient's right to left across."""
    stored = np.asanyarray(volume.dataobj.get_unscaled())
    shape = (*stored.shape, 1, 1)[:4]
    turned = nibabel.apply_orientation(stored.reshape(shape), _to_front_left_up(volume))  # (x, y, z, t)
    axial: NDArray[Any] = turned.transpose(3, 2, 1, 0)
    return axial.reshape(-1, *axial.shape[2:])


def _to_front_left_up(volume: Any) -> NDArray[Any]:
    # Columns run to the patient's left, rows to the back, slices to the head (DICOM's LPS).
    return np.asarray(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(volume.affine), nibabel.orientations.axcodes2ornt(("L", "P", "S"))
        )
    )


def _spacing(volume: Any) -> tuple[float, float]:
    """Millimetres from row to row and from column to column of an upright slice.

    Raises:
        SetAside: they are no sizes.
    """
    to = _to_front_left_up(volume)[:, 0].astype(int).tolist()  # stored axis -> upright axis
    sizes = np.sqrt((np.asarray(volume.affine)[:3, :3] ** 2).sum(axis=0))
    across, down = float(sizes[to.index(0)]), float(sizes[to.index(1)])
    if not (0 < across < np.inf and 0 < down < np.inf):
        raise SetAside(Reason.UNREADABLE)
    return down, across


def _square_pixels(shares: NDArray[np.float64], *, height_mm: float, width_mm: float) -> NDArray[np.float64]:
    """The same image with pixels as high as wide, the finer of the two."""
    ratio = height_mm / width_mm
    if abs(ratio - 1) < _SQUARE:
        return shares
    height, width = (edge * max(1.0, factor) for edge, factor in zip(shares.shape, (ratio, 1 / ratio), strict=True))
    if not height * width <= MAX_PIXELS:
        raise SetAside(Reason.TOO_LARGE)
    picture = Image.fromarray(shares.astype(np.float32))
    return np.asarray(picture.resize((round(width), round(height)), Image.Resampling.BILINEAR), dtype=np.float64)


def _sample(slices: NDArray[Any]) -> NDArray[np.float64]:
    """Some voxels of the whole, evenly drawn."""
    step = math.ceil((slices.size / _SAMPLE) ** (1 / 3))
    return slices[::step, ::step, ::step].astype(np.float64)
