"""How large an image is as it was made, before it comes to the study's size: what a survey tells percentiles of.

Decides what counts where a patient has several images: the middle one along each axis.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low

SPACING_DECIMALS = 2  # of a millimetre
LARGEST_MM = 1000.0  # what a header says beyond it is an error
Measures = tuple[float | None, ...]  # three counts, then three spacings; None where nobody says


@dataclass(frozen=True, slots=True)
class Extent:
    """Of one image by its own axes, of a volume by the patient's.

    Attributes:
        counts: slices (1 of a single image; of a volume from the feet up), rows and columns.
        spacing_mm: from slice to slice, row to row, column to column; None where the file does not say.
    """

    counts: tuple[int, int, int]
    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None)

    @property
    def measures(self) -> Measures:
        """All six, millimetres to two decimals."""
        return *self.counts, *(_rounded(mm) for mm in self.spacing_mm)


def measures_by_patient(images: Iterable[tuple[str, Extent]]) -> tuple[Measures, ...]:
    """For each patient named beside images the middle one's measures, axis by axis, in no order of patients."""
    found: dict[str, list[Measures]] = defaultdict(list)
    for patient, extent in images:
        found[patient].append(extent.measures)
    return tuple(sorted((_middle(own) for own in found.values()), key=repr))


def _rounded(mm: float | None) -> float | None:
    return None if mm is None or not 0 < round(mm, SPACING_DECIMALS) <= LARGEST_MM else round(mm, SPACING_DECIMALS)


def _middle(own: list[Measures]) -> Measures:
    known = ([value for value in axis if value is not None] for axis in zip(*own, strict=True))
    return tuple(median_low(values) if values else None for values in known)
