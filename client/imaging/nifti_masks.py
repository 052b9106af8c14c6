"""Masks as NIfTI volumes, slice by slice or on the study's grid, beside images of the same format.

Decides which files are masks: whole numbers from 0 on, in a volume that says which side is left. One that is empty is a
mask; so is one that its header calls labels. Whether it lies where its image does is left to `lattice`, which
structure a number stands for to `masks`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from client.imaging.about import About
from client.imaging.form import Facts, Pixels
from client.imaging.grid import Assembly
from client.imaging.nifti import Voxels, read_mask, square_mask
from client.imaging.reasons import Reason, SetAside
from shared.images import ImageSpec

_MOST = 256  # a larger number is that of no structure either, and is no number of an 8-bit picture (`masks`)


class NiftiMasks:
    """NIfTI files that hold numbers of structures.

    Args:
        images: of the study.
    """

    def __init__(self, images: ImageSpec) -> None:
        self._images = images

    def facts(self, data: bytes) -> Facts:
        """Read the header.

        Raises:
            SetAside: no volume that `pixels` can make masks of.
        """
        voxels, name = read_mask(data)
        return Facts(about=About(syntax=name), lattice=voxels.lattice)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """The numbers in axial slices, as `Nifti` counts them, or in a study of volumes on its grid.

        Raises:
            SetAside: a value is no number of a structure.
        """
        voxels, _ = read_mask(data)
        yield from (
            self._slice(voxels, number) if self._images.slices is None else self._volume(voxels) for number in frames
        )

    def _slice(self, voxels: Voxels, number: int) -> Pixels:
        slices = voxels.stored.reshape(-1, *voxels.stored.shape[2:])
        _, heights, widths = voxels.lattice.spacing_mm
        return square_mask(_numbers(voxels, slices[number]), height_mm=heights, width_mm=widths)

    def _volume(self, voxels: Voxels) -> Pixels:
        assembly = Assembly(voxels.lattice.scan, self._images, nearest=True)
        for stored in voxels.stored[0]:
            assembly.add(_numbers(voxels, stored))
        return assembly.volume()[0].astype(np.uint16)


def _numbers(voxels: Voxels, stored: NDArray[np.generic]) -> Pixels:
    values = voxels.measured(stored)
    if (values < 0).any() or (values != np.rint(values)).any():
        raise SetAside(Reason.MASK_UNKNOWN)
    return np.minimum(values, _MOST).astype(np.uint16)
