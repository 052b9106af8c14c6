"""What a study's model sees: square images, or volumes of slices, in one size, spacing and window for all sites.

Decides what may be asked. How a site's files become such images is the sites' business (`client/imaging/`).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.patch import PatchSpec
from shared.section import Section

Spacing = Annotated[float, Field(ge=0.05, le=50)]  # millimetres from the centre of one voxel to the next
Hounsfield = Annotated[float, Field(ge=-32768, le=32767)]
Landmark = Annotated[float, Field(ge=0, le=1)]  # 0 black, 1 white
Augmentation = Literal["none", "light", "xray", "ct", "mri", "ultrasound", "dermoscopy", "pathology"]
_MOST_VOXELS = 2**25  # of one volume; 128 slices of 512 x 512


class ImageSpec(Section):
    """The tensor that a model sees, float32: (channels, size_px, size_px), or (1, slices, size_px, size_px).

    With `slices` the images are volumes: slices from the feet up, rows from front to back, columns from the
    patient's right to the left. `spacing_mm` is that of the voxels, from right to left, front to back and feet
    to head; without it a volume's slices are spread over its whole height, and the larger side of its plane is
    as long as `size_px`. `hu` are black and white in Hounsfield units, and then everything else than CT is set aside.
    `landmarks` are where the percentiles 5, 50 and 95 of each image's pixels above black are brought, so that all
    sites have one scale. With `patch` a network that finds masks sees as much of an image at a time.
    """

    size_px: Annotated[int, Field(ge=16, le=1024)] = 64
    slices: Annotated[int, Field(ge=8, le=512)] | None = None
    spacing_mm: tuple[Spacing, Spacing, Spacing] | None = None
    hu: tuple[Hounsfield, Hounsfield] | None = None
    landmarks: tuple[Landmark, Landmark, Landmark] | None = None
    channels: Literal[1, 3] = 1
    augment: Augmentation = "none"
    patch: PatchSpec | None = None

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if self.slices is None and self.spacing_mm is not None:
            raise ValueError("spacing_mm is that of volumes: it goes with slices")
        if self.slices is not None and self.channels != 1:
            raise ValueError("a volume has one channel")
        if self.slices is not None and self.slices * self.size_px**2 > _MOST_VOXELS:
            raise ValueError(f"slices and size_px make more than {_MOST_VOXELS:,} voxels")
        if self.hu is not None and self.hu[0] >= self.hu[1]:
            raise ValueError("hu names black first, and white is more than black")
        return self

    @model_validator(mode="after")
    def _landmarks_fit(self) -> Self:
        if self.landmarks is not None and not self.landmarks[0] < self.landmarks[1] < self.landmarks[2]:
            raise ValueError("landmarks ascend: they are the places of the percentiles 5, 50 and 95")
        if self.landmarks is not None and self.hu is not None:
            raise ValueError("hu is one scale for all sites already; leave landmarks out")
        if self.landmarks is not None and self.channels != 1:
            raise ValueError("landmarks are of grey images: they go with channels = 1")
        return self

    @model_validator(mode="after")
    def _patch_fits(self) -> Self:
        if self.patch is None:
            return self
        if (self.patch.slices is None) != (self.slices is None):
            raise ValueError(
                "patch.slices goes with slices: patches of volumes are volumes, and those of images are not"
            )
        if any(edge > whole for edge, whole in zip(self.patch.grid, self.grid, strict=True)):
            raise ValueError(f"{self.patch.words} are larger than images of {self.words}")
        return self

    @property
    def grid(self) -> tuple[int, ...]:
        """(size_px, size_px), or (slices, size_px, size_px)."""
        plane = (self.size_px, self.size_px)
        return plane if self.slices is None else (self.slices, *plane)

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid after the channels."""
        return (self.channels, *self.grid)

    @property
    def seen(self) -> tuple[int, ...]:
        """What the network takes of an image at a time, after the channels."""
        return (self.channels, *(self.grid if self.patch is None else self.patch.grid))

    @property
    def words(self) -> str:
        """The size, for people."""
        plane = f"{self.size_px} x {self.size_px} px"
        if self.slices is not None:
            return f"{self.slices} slices of {plane}"
        return f"{plane}, {self.channels} channel{'s' * (self.channels > 1)}"

    @property
    def seen_words(self) -> str:
        """The size, and how much of it a network sees at a time, for people."""
        return self.words if self.patch is None else f"{self.words}, seen in {self.patch.words}"
