"""NIfTI volumes, single files of version 1 and 2, compressed or not, read with nibabel.

Decides from the header, and then from the voxels, what a volume is; the first that applies:

1. A pair of files, ANALYZE, or another magic is no NIfTI file of ours; a volume that would inflate beyond the limit is
   too large.
2. Colours and complex numbers are set aside; so are vectors (a fifth axis), statistical maps and labels, as the intent
   code says (nifti1.h).
3. A volume that names neither a qform nor an sform does not say which side is left.
4. One value throughout is an empty mask or an empty scan; two values are a mask, whatever the header says.
5. Where the study asks for Hounsfield units, a volume without a value below 0 is not in them: a CT shows air or fat.

A study of single images sees the axial slices of a volume from the feet up, one volume in time after the other: the
patient's right on the left and the front on top, as radiologists look at them, with square pixels. The values of all
slices share one window, the study's or the spread of the whole. A study of volumes sees the whole, and of a volume in
time nothing: the hundreds of near copies in a diffusion or functional scan would each weigh as another patient's only
one. The reader of MONAI reads by way of nibabel, too, but brings torch along, which a process that decodes has
no memory for.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.imaging.about import About
from client.imaging.form import MAX_FRAMES, MAX_PIXELS, MAX_VOXELS, MIN_SLICES, Facts, Pixels
from client.imaging.grid import Assembly
from client.imaging.lattice import Lattice
from client.imaging.levels import Limits, clipped, levelled
from client.imaging.reasons import Reason, SetAside
from client.imaging.window import spread, stretch_limits, to_uint16
from shared.images import ImageSpec

_GZIP = b"\x1f\x8b"
_MAX_BYTES = 2**29  # inflated; a CT of 1000 slices fits
_KINDS = {  # bytes of the header -> where the magic stands, the magic, the name, the class
    348: (344, b"n+1\x00", "nifti_1", nibabel.Nifti1Image),
    540: (4, b"n+2\x00", "nifti_2", nibabel.Nifti2Image),
}
_UNITS_MM = {1: 1000.0, 3: 0.001}  # metres and microns (nifti1.h); millimetres if the header says nothing else
_SPACE = 7  # the bits of xyzt_units that are about space
_INTENT_LABEL = 1002
_INTENT_STATISTICS = range(2, 25)
_SAMPLE = 2**20  # voxels that the window is taken from
_SQUARE = 0.01  # edges of a pixel that differ by less are equal


@dataclass(frozen=True)
class Voxels:
    """What a file holds, upright: from the feet up, front to back, and the patient's right to left.

    Attributes:
        stored: (times, slices, rows, columns).
        slope, inter: what the stored values mean.
        lattice: where they lie.
    """

    stored: NDArray[Any]
    slope: float
    inter: float
    lattice: Lattice

    def measured(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """What some of the stored values mean.

        Raises:
            SetAside: they are not finite.
        """
        values = stored.astype(np.float64) * self.slope + self.inter
        if not np.isfinite(values).all():
            raise SetAside(Reason.UNREADABLE)
        return values


class Nifti:
    """NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz), slice by slice.

    Args:
        hu: the study's window in Hounsfield units; None for the spread of each volume.
    """

    def __init__(self, hu: Limits | None = None) -> None:
        self._hu = hu

    def facts(self, data: bytes) -> Facts:
        """Read the header and look at the voxels.

        Raises:
            SetAside: no volume that `pixels` can make images of.
        """
        voxels, name = read_voxels(data, hu=self._hu)
        frames = math.prod(voxels.stored.shape[:2])
        return Facts(frames=frames, about=About(syntax=name), lattice=voxels.lattice)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Axial slices, black and white by the study's window or the spread of the whole volume.

        Raises:
            SetAside: the values are not finite.
        """
        voxels, _ = read_voxels(data, hu=self._hu)
        slices = voxels.stored.reshape(-1, *voxels.stored.shape[2:])
        low, high = self._hu or stretch_limits(voxels.measured(_sample(slices)))
        _, heights, widths = voxels.lattice.spacing_mm
        for number in frames:
            shares = spread(voxels.measured(slices[number]), low, high)
            yield to_uint16(_square_pixels(shares, height_mm=heights, width_mm=widths))


class NiftiVolumes:
    """The same files, each one volume of the study.

    Args:
        images: of the study, with `slices`.
    """

    def __init__(self, images: ImageSpec) -> None:
        self._images = images

    def facts(self, data: bytes) -> Facts:
        """Read the header and look at the voxels.

        Raises:
            SetAside: no volume that `pixels` can read.
        """
        voxels, name = read_voxels(data, hu=self._images.hu)
        times, slices = voxels.stored.shape[:2]
        if times > 1:
            raise SetAside(Reason.TIME_SERIES)
        if slices < MIN_SLICES:
            raise SetAside(Reason.FEW_SLICES)
        return Facts(about=About(syntax=name), lattice=voxels.lattice)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """The volume on the study's grid.

        Raises:
            SetAside: the values are not finite, or nothing is to be seen in what the grid takes of them.
        """
        for _ in frames:
            voxels, _name = read_voxels(data, hu=self._images.hu)
            assembly = Assembly(voxels.lattice.scan, self._images)
            for stored in voxels.stored[0]:
                assembly.add(clipped(voxels.measured(stored), self._images.hu))
            yield levelled(*assembly.volume(), self._images.hu)


def read_voxels(data: bytes, *, hu: Limits | None = None) -> tuple[Voxels, str]:
    """The voxels of a file, checked by the module's rules, and the name of its format.

    Raises:
        SetAside: it is none that a study takes.
    """
    volume, name = open_nifti(data)
    if _is_no_picture(volume):
        raise SetAside(Reason.OTHER_OBJECT)
    voxels = _read(volume)
    stored = voxels.stored
    _check_values(stored.reshape(-1, *stored.shape[2:]))
    if hu is not None and min(voxels.measured(np.array([stored.min(), stored.max()]))) >= 0:
        raise SetAside(Reason.NO_HOUNSFIELD)
    return voxels, name


def read_mask(data: bytes) -> tuple[Voxels, str]:
    """The voxels of a file that is called a mask, whatever its header and values say of that, and its format's name.

    Raises:
        SetAside: it is none by rules 1 to 3, colours and complex numbers among them.
    """
    volume, name = open_nifti(data)
    return _read(volume), name


def square_mask(values: Pixels, *, height_mm: float, width_mm: float) -> Pixels:
    """A slice of a mask with the pixels of its image's, each with the value of the nearest one."""
    return _square_pixels(values, height_mm=height_mm, width_mm=width_mm, by=Image.Resampling.NEAREST).astype(np.uint16)


def _read(volume: Any) -> Voxels:
    _check_kind(volume)
    stored = _upright(volume)
    if math.prod(stored.shape[:2]) > MAX_FRAMES or stored[0, 0].size > MAX_PIXELS or stored.size > MAX_VOXELS:
        raise SetAside(Reason.TOO_LARGE)
    return Voxels(stored, float(volume.dataobj.slope), float(volume.dataobj.inter), _lattice(volume, stored))


def open_header(data: bytes) -> tuple[Any, str]:
    """The volume, of whose file no more is inflated than its header, and the name of its format.

    Raises:
        SetAside: it is no file of the format.
    """
    stream = gzip.GzipFile(fileobj=BytesIO(data)) if data[:2] == _GZIP else BytesIO(data)
    try:
        head = stream.read(max(_KINDS))
        stream.seek(0)
    except (OSError, EOFError, zlib.error):
        raise SetAside(Reason.UNREADABLE) from None
    name, kind = _format_of(head)
    return kind.from_stream(stream), name


def open_nifti(data: bytes) -> tuple[Any, str]:
    """The volume, its voxels not yet read, and the name of its format.

    Raises:
        SetAside: it is too large, by its header or once inflated, or no file of the format.
    """
    volume, _ = open_header(data)
    if math.prod(volume.shape) * volume.get_data_dtype().itemsize > _MAX_BYTES:
        raise SetAside(Reason.TOO_LARGE)
    if data[:2] == _GZIP:
        try:
            data = gzip.GzipFile(fileobj=BytesIO(data)).read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            raise SetAside(Reason.UNREADABLE) from None
    if len(data) > _MAX_BYTES:
        raise SetAside(Reason.TOO_LARGE)
    name, kind = _format_of(data)
    return kind.from_bytes(data), name


def _format_of(data: bytes) -> tuple[str, Any]:
    sizes = [struct.unpack(order, data[:4])[0] for order in ("<i", ">i") if len(data) >= 4]
    at, magic, name, kind = next((_KINDS[size] for size in sizes if size in _KINDS), (0, b"", "", None))
    if kind is None or data[at : at + 4] != magic:
        raise SetAside(Reason.NOT_AN_IMAGE)
    return name, kind


def _is_no_picture(volume: Any) -> bool:
    """Whether the header calls it labels or a statistical map."""
    intent = int(volume.header["intent_code"])
    return volume.get_data_dtype().fields is None and (intent == _INTENT_LABEL or intent in _INTENT_STATISTICS)


def _check_kind(volume: Any) -> None:
    dtype, shape, header = volume.get_data_dtype(), volume.shape, volume.header
    if dtype.fields is not None:  # RGB24 and RGBA32
        raise SetAside(Reason.COLOUR_VOLUME)
    if dtype.kind not in "iuf" or len(shape) > 4 + shape[4:].count(1):
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
    """Stored values as (times, slices, rows, columns): back to front down, the patient's right to left across."""
    stored = np.asanyarray(volume.dataobj.get_unscaled())
    shape = (*stored.shape, 1, 1)[:4]
    turned = nibabel.apply_orientation(stored.reshape(shape), to_front_left_up(volume))  # (x, y, z, t)
    axial: NDArray[Any] = turned.transpose(3, 2, 1, 0)
    return axial


def to_front_left_up(volume: Any) -> NDArray[Any]:
    """What turns a volume upright: columns run to the patient's left, rows to the back, slices to the head (LPS)."""
    return np.asarray(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(volume.affine), nibabel.orientations.axcodes2ornt(("L", "P", "S"))
        )
    )


def _lattice(volume: Any, stored: NDArray[Any]) -> Lattice:
    """Where the voxels lie, upright.

    Raises:
        SetAside: nowhere, or all at one place along an axis.
    """
    shape = (*volume.shape, 1, 1)[:3]
    upright = volume.affine @ nibabel.orientations.inv_ornt_aff(to_front_left_up(volume), shape)
    unit_mm = _UNITS_MM.get(int(volume.header["xyzt_units"]) & _SPACE, 1.0)
    across, down, up, first = (np.asarray(upright, dtype=np.float64)[:3] * unit_mm).T.tolist()
    if not np.isfinite(upright).all() or not all(map(any, (across, down, up))):
        raise SetAside(Reason.UNREADABLE)
    times, slices, rows, columns = stored.shape
    return Lattice((times, slices, rows, columns), tuple(first), (tuple(up), tuple(down), tuple(across)))


def _square_pixels(
    shares: NDArray[Any],
    *,
    height_mm: float,
    width_mm: float,
    by: Image.Resampling = Image.Resampling.BILINEAR,
) -> NDArray[np.float64]:
    """The same image with pixels as high as wide, the finer of the two."""
    ratio = height_mm / width_mm
    if abs(ratio - 1) < _SQUARE:
        return shares
    height, width = (edge * max(1.0, factor) for edge, factor in zip(shares.shape, (ratio, 1 / ratio), strict=True))
    if not height * width <= MAX_PIXELS:
        raise SetAside(Reason.TOO_LARGE)
    picture = Image.fromarray(shares.astype(np.float32))
    return np.asarray(picture.resize((round(width), round(height)), by), dtype=np.float64)


def _sample(slices: NDArray[Any]) -> NDArray[np.float64]:
    """Some voxels of the whole, evenly drawn."""
    step = math.ceil((slices.size / _SAMPLE) ** (1 / 3))
    return slices[::step, ::step, ::step].astype(np.float64)
