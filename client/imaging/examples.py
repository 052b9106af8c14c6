"""What the learner receives from a site's images: three splits of arrays and nothing else.

Decides the shapes and dtypes that cross from imaging to learning. How the arrays came to be
(sources, cache) is left to the rest of this folder; no file name and no patient value is in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.extent import Measures


class Split(StrEnum):
    """What a patient's images are for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Examples:
    """The images of one split, in the catalogue's order.

    Attributes:
        images: (n, channels, size_px, size_px) uint16, or (n, 1, slices, size_px, size_px), perhaps a
            read-only memory map; 0..65535 spans the display window.
        labels: int64; (n,) for binary {0, 1} and multiclass, (n, outputs) of {0, 1} for multilabel, and
            (n, structures) of {0, 1} for segmentation: whether the mask shows it.
        patients: (n,) int64, dense index of the patient within the split.
        clinical: (n, columns) float32, NaN where missing, in the order of the study's clinical columns; None if it
            has none.
        masks: (n, size_px, size_px) uint16, perhaps a read-only memory map, for segmentation: the number of the
            structure at each place, 0 of none.
        traits: (n, traits) int8, the place in `VALUES` of each trait of the patient, in the order of `TRAITS`
            (`shared/subgroups.py`); None if nobody asks.

    Raises:
        ValueError: they do not describe the same n images, or a dtype is another one.
    """

    images: NDArray[np.uint16]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    clinical: NDArray[np.float32] | None = None
    masks: NDArray[np.uint16] | None = None
    traits: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        if self.masks is not None and (len(self.masks) != len(self.images) or self.masks.dtype != np.uint16):
            raise ValueError("masks must be uint16, and as many as images")
        if not len(self.images) == len(self.labels) == len(self.patients):
            raise ValueError("images, labels and patients differ in length")
        if self.images.dtype != np.uint16 or self.labels.dtype != np.int64 or self.patients.dtype != np.int64:
            raise ValueError("images must be uint16, labels and patients int64")
        if self.clinical is not None and (len(self.clinical) != len(self.images) or self.clinical.dtype != np.float32):
            raise ValueError("clinical must be float32, one line for each image")
        if self.traits is not None and (len(self.traits) != len(self.images) or self.traits.dtype != np.int8):
            raise ValueError("traits must be int8, one line for each image")

    def __len__(self) -> int:
        return len(self.images)

    def targets(self, chosen: slice | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """What a model is to say of some of the images: their masks, or else their labels."""
        return self.labels[chosen] if self.masks is None else self.masks[chosen].astype(np.int64)

    @property
    def missing(self) -> NDArray[np.bool_] | None:
        """(n, columns): where a clinical value is not known; None if the study has no such columns."""
        return None if self.clinical is None else np.isnan(self.clinical)

    def beside(self, chosen: NDArray[np.integer[Any]] | slice) -> tuple[NDArray[np.float32], ...]:
        """What a network takes beside some of the images: their clinical values, or nothing."""
        return () if self.clinical is None else (self.clinical[chosen],)

    @property
    def patient_count(self) -> int:
        """Number of different patients."""
        return int(self.patients.max()) + 1 if len(self.patients) else 0


@dataclass(frozen=True)
class Counts:
    """How many images the site has, and why some are not used; found = used + set aside.

    Attributes:
        found: every image; a file of the folder that holds none counts as one.
        used: images in the three splits together.
        set_aside: number by reason code; a reason with none is left out.
        examples: images by split.
        patients: patients by split.
        classes: images by split and class name; `negative` counts those with no class true.
        labels_unused: lines of the label table that no file answered to.
        vendors: patients by the maker of the machine.
        measures: of each training patient whose images say theirs, in no order (`extent`).
    """

    found: int
    used: int
    set_aside: Mapping[str, int]
    examples: Mapping[Split, int]
    patients: Mapping[Split, int]
    classes: Mapping[Split, Mapping[str, int]]
    labels_unused: int = 0
    vendors: Mapping[str, int] = field(default_factory=dict)
    measures: tuple[Measures, ...] = ()

    def __post_init__(self) -> None:
        if self.found != self.used + sum(self.set_aside.values()):
            raise ValueError("found must equal used + set aside")


@dataclass(frozen=True)
class SiteData:
    """All that a site brings to a study.

    Attributes:
        train, validation, test: no patient is in two of them.
        manifest: SHA-256 (hex) of the catalogue; equal for equal files, labels and splits.
        counts: what was found, used and set aside.
    """

    train: Examples
    validation: Examples
    test: Examples
    manifest: str
    counts: Counts
