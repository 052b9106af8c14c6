"""Volumes of an array file: which arrays are such, and how one becomes the study's.

    volumes   uint8 or uint16, (n, slices, rows, columns) or (n, slices, rows, columns, 1), as MedMNIST's 3D files are
    masks     the same, or bool, or the bits of each volume's one structure, with the voxels of their volumes

Their axes are taken for the patient's, slices from the feet up, because nothing says otherwise; nor does anything
say how large a voxel is, so the slices are spread as `grid` does it without `spacing_mm`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.form import MAX_PIXELS, MAX_VOXELS, MIN_SLICES, Pixels
from client.imaging.grid import Assembly, Scan
from shared.images import ImageSpec

FORM = "(n, slices, rows, columns[, 1])"
_UNKNOWN_MM = (1.0, 1.0, 1.0)


def are_volumes(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape holds volumes: one whose last axis is 1 or 3 holds pictures."""
    return (len(shape) == 4 and shape[3] not in (1, 3)) or (len(shape) == 5 and shape[4] == 1)


def volume_fault(shape: tuple[int, ...]) -> str | None:
    """Why volumes of this (slices, rows, columns) cannot be taken, in words; None if they can."""
    slices, rows, columns = shape
    if slices < MIN_SLICES or not rows * columns:
        return f"are empty or have fewer than {MIN_SLICES} slices"
    if rows * columns > MAX_PIXELS or slices * rows * columns > MAX_VOXELS:
        return f"are larger than {MAX_VOXELS:,} voxels, or {MAX_PIXELS:,} in a slice"
    return None


def volume_of(values: Pixels, images: ImageSpec, *, mask: bool = False) -> Pixels:
    """(slices, rows, columns) uint16 on the study's grid, black outside; a mask has the nearest values, 0 outside."""
    slices, rows, columns = values.shape
    assembly = Assembly(Scan((slices, rows, columns), _UNKNOWN_MM), images, nearest=mask)
    for plane in values:
        assembly.add(plane)
    volume, _inside = assembly.volume()
    found: NDArray[Any] = np.rint(volume)
    return found.astype(np.uint16)
