"""What a run writes beside its answers, as it was asked: masks, DICOM reports, the page of explanations.

Decides what goes with what: a page and a report are of a probability, a mask is its own explanation, and DICOM objects
are of DICOM exams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from client.imaging.kinds import FolderKind
from client.prediction.answer import Prediction
from client.prediction.dicom_reports import DicomReports
from client.prediction.dicom_segmentations import DicomSegmentations
from client.prediction.explained_page import write_page
from client.prediction.explaining import Gallery
from client.prediction.mask_files import MaskFiles
from client.prediction.read_exam import ReadExam
from client.prediction.released_model import ReleasedModel
from shared.errors import ConfigError
from shared.metrics import Floats


@dataclass(frozen=True)
class Wanted:
    """What is asked for: of how many exams an explanation, and which DICOM objects."""

    explain: int = 0
    reports: bool = False
    segmentations: bool = False


class Beside:
    """Writes it.

    Args:
        model: checked.
        folder: the images.
        out: the folder of the answers.
        kind: of the images.
        wanted: what is asked for.
        now: the time.

    Raises:
        ConfigError: what is asked does not go with such a model or such images.
    """

    def __init__(
        self,
        model: ReleasedModel,
        folder: Path,
        out: Path,
        *,
        kind: FolderKind,
        wanted: Wanted,
        now: Callable[[], datetime],
    ) -> None:
        _insist(model, kind, wanted)
        self._model, self._wanted = model, wanted
        self._gallery = Gallery(model, most=wanted.explain)
        self._reports = DicomReports(folder, out, now=now)
        self._segmentations = DicomSegmentations(folder, out, card=model.card, now=now)
        objects = self._segmentations if wanted.segmentations else None
        self.masks = MaskFiles(folder, out, kind=kind, card=model.card, segmentations=objects) if model.masks else None

    def hear(self, said: Prediction, exam: ReadExam, logits: Sequence[Floats]) -> None:
        """An exam was answered."""
        self._gallery.hear(said, exam, logits)
        if self._wanted.reports:
            self._reports.hear(said)

    def keep(self, said: Prediction) -> None:
        """An exam was answered by an earlier run."""
        if self._wanted.reports:
            self._reports.keep(said)
        if self._wanted.segmentations and said.masks_missing:
            self._segmentations.missing += 1

    def close(self, page: Path) -> dict[str, Any]:
        """Write the page of explanations, if it is asked for; returns what was written, and what could not be."""
        if self._wanted.explain:
            write_page(page, self._gallery.explained, model=self._model.card.weights.sha256)
        return {
            "explained": len(self._gallery.explained),
            "reports": self._reports.written,
            "unreported": self._reports.missing,
            "segmentations": self._segmentations.written,
            "unsegmented": self._segmentations.missing,
        }


def _insist(model: ReleasedModel, kind: FolderKind, wanted: Wanted) -> None:
    if (wanted.reports or wanted.segmentations) and kind != "dicom":
        raise ConfigError(
            "A DICOM SR or SEG is of a DICOM exam.", remedy="Leave --dicom-sr and --dicom-seg out for other images."
        )
    if wanted.segmentations and not model.masks:
        raise ConfigError("The model finds no masks, and a DICOM SEG is of those.", remedy="Leave --dicom-seg out.")
    if model.masks and (wanted.explain or wanted.reports):
        raise ConfigError(
            "The model finds masks, and --explain and --dicom-sr are of a probability.",
            remedy="Leave them out: the mask itself shows where the model sees what.",
        )
