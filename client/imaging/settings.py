"""The `[data]` table of site.toml: where a hospital's images and labels lie.

Decides which keys there are and which belong together. Whether the files exist and what they hold
is left to the sources.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from client.pacs.settings import PULLED, PacsSettings
from shared.section import Section

Word = Annotated[str, Field(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class DataSettings(Section):
    """One source of images with its labels. Relative paths count from the folder of site.toml.

    `kind` dicom, nifti and pictures read `folder` and the CSV table `labels`; npz reads `file`, which holds
    its own labels. `views` and `keep` say which DICOM images are wanted, and
    `exams_per_patient` when so many have one patient id that it cannot be one patient's. The fractions are of
    patients, and are used where the labels do not name a split themselves; keep them for the life of the
    site, so that a test patient stays one. With `pacs` in the place of `folder`, the images are those that were pulled.
    """

    kind: Literal["dicom", "nifti", "pictures", "npz"]
    folder: Path | None = None
    file: Path | None = None
    labels: Path | None = None
    views: tuple[Literal["pa", "ap", "lateral", "cc", "mlo", "other", "unstated"], ...] = ()
    keep: tuple[Literal["for_processing", "localizer", "secondary"], ...] = ()
    exams_per_patient: Annotated[int, Field(ge=1)] = 50  # as `doubtful.MOST_EXAMS`
    validation_fraction: Fraction = 0.15
    test_fraction: Fraction = 0.15
    pacs: PacsSettings | None = None

    @property
    def images(self) -> Path | None:
        """The folder of images, be they the hospital's own or pulled."""
        return PULLED if self.pacs else self.folder

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> Self:
        wanted = {"file"} if self.kind == "npz" else {"folder", "labels"}
        given = {name for name in ("folder", "file", "labels") if getattr(self, name) is not None}
        if self.pacs:
            if self.kind != "dicom":
                raise ValueError("a PACS has images of the kind dicom")
            wanted.discard("folder")
        if given != wanted:
            raise ValueError(f"kind {self.kind} needs {' and '.join(sorted(wanted))}, and none of the others")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must leave patients to train on")
        return self
