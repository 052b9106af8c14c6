"""What a network that finds masks sees at a time of images that are larger than it can take: patches of one size.

Decides what may be asked of them. Training cuts one of each image (`client/imaging/patches.py`); of whoever scores or
predicts a window slides over the whole (`client/work/inferer.py`).
"""

import math
from typing import Annotated

from pydantic import Field

from shared.section import Section

_PLACES = 2**20  # of the windows that a network takes together: a UNet holds some hundred numbers for each
_MOST = 64  # windows together


class PatchSpec(Section):
    """Patches of (size_px, size_px), or of volumes (slices, size_px, size_px).

    In training `positive` is the chance that a patch is centred on a place of a structure, as MONAI's
    RandCropByPosNegLabel has it; else it lies anywhere. An image that shows none is cut anywhere. Windows that slide
    over an image share `overlap` of their edges with the next one, and count by a Gaussian of their size (Isensee et
    al., Nature Methods 2021), so that no seam is seen.
    """

    size_px: Annotated[int, Field(ge=16, le=1024)]
    slices: Annotated[int, Field(ge=4, le=512)] | None = None
    positive: Annotated[float, Field(ge=0, le=1)] = 0.5
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25

    @property
    def grid(self) -> tuple[int, ...]:
        """(size_px, size_px), or (slices, size_px, size_px)."""
        plane = (self.size_px, self.size_px)
        return plane if self.slices is None else (self.slices, *plane)

    @property
    def together(self) -> int:
        """Windows that a network takes at once where it is scored or used."""
        return max(1, min(_MOST, _PLACES // math.prod(self.grid)))

    @property
    def words(self) -> str:
        """The size, for people."""
        plane = f"{self.size_px} x {self.size_px} px"
        return f"patches of {plane}" if self.slices is None else f"patches of {self.slices} slices of {plane}"
