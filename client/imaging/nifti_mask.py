"""A mask as a NIfTI file on the very grid of the volume that it is of, so that any viewer lays it over that volume.

Decides what stands in the header: the volume's own place, orientation and units, the intent of a label, and whose words
it is. The volume's bytes were read by the decoder within its limits.
"""

import gzip
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from client.imaging.nifti import open_header, to_front_left_up
from client.imaging.outline import Mask

_WORDS = 79  # bytes of the header's description
_FORMS = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "sform_code")
_PLACE = ("pixdim", "xyzt_units", *_FORMS, "srow_x", "srow_y", "srow_z")


def nifti_mask(data: bytes, masks: NDArray[np.uint8], *, words: str) -> bytes:
    """A compressed NIfTI file.

    Args:
        data: of the volume's file.
        masks: (times x slices, rows, columns), upright as the volume was read.
        words: for the header's description; cut to its length.
    """
    volume, _ = open_header(data)
    upright = _as_upright(volume, masks)
    back = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt(("L", "P", "S")), nibabel.io_orientation(volume.affine)
    )
    stored = nibabel.apply_orientation(upright, back).reshape(volume.shape)
    image = type(volume)(np.ascontiguousarray(stored), volume.affine)
    header, of = image.header, volume.header
    for name in _PLACE:  # to the bit: the two forms may differ, and viewers differ in which they follow
        header[name] = of[name]
    header["descrip"] = words.encode("ascii", "replace")[:_WORDS]
    header.set_intent("label", name="structures")
    return gzip.compress(image.to_bytes(), mtime=0)


def _as_upright(volume: Any, masks: Mask) -> NDArray[np.uint8]:
    """(columns, rows, slices, times)."""
    shape = np.array((*volume.shape, 1, 1)[:4])
    to = to_front_left_up(volume)[:, 0].astype(int)  # stored axis -> upright axis
    upright = [int(shape[:3][to.tolist().index(axis)]) for axis in range(3)]
    columns, rows, slices = upright
    return masks.reshape(int(shape[3]), slices, rows, columns).transpose(3, 2, 1, 0)
