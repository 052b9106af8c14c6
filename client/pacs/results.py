"""The results among the answers of `wardround predict`: which of the folder's DICOM files are one, and of which model.

A file counts if it is an Enhanced SR or a Segmentation, the answer that it is of lies beside it, and it says itself
that it is of the answer's model; a segmentation has to be among the masks that the answer names, too. A folder with any
other DICOM file is refused: nothing that is not Wardround's is stored in its name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, SegmentationStorage

from client.imaging.structured_report import ENHANCED_SR
from client.prediction.answer import Prediction
from shared.errors import ConfigError

MOST_BYTES = 64 << 20
_KINDS = {ENHANCED_SR: "sr", SegmentationStorage: "seg"}
_SEG_ENDING = re.compile(r"\.seg(-\d+)?\.dcm$")


@dataclass(frozen=True)
class Result:
    """One object that can be stored.

    Attributes:
        kind: `sr` or `seg`.
        model: SHA-256 (hex) of the weights that said it.
        data: the file.
        dataset: what is in it.
    """

    kind: str
    model: str
    data: bytes = field(repr=False)
    dataset: Dataset = field(repr=False)

    @property
    def instance(self) -> str:
        """Its SOP instance UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def form(self) -> tuple[UID, UID]:
        """(SOP class, transfer syntax), as a line to a PACS proposes them."""
        return UID(self.dataset.SOPClassUID), UID(self.dataset.file_meta.TransferSyntaxUID)


def results_in(folder: Path) -> Iterator[Result]:
    """The results of a folder of answers, in the order of their names.

    Raises:
        ConfigError: it holds none, or a DICOM file that is no result of the answer beside it.
    """
    files = sorted(folder.rglob("*.dcm"))
    if not files:
        raise ConfigError(
            "There is no DICOM SR or SEG among these answers.",
            remedy="Name the folder of `wardround predict --out`; given --dicom-sr or --dicom-seg it writes them.",
        )
    return map(_result, files)


def _result(file: Path) -> Result:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        dataset = dcmread(BytesIO(data))
        kind = _KINDS[dataset.SOPClassUID]
        answer = Prediction.model_validate_json(_answer_of(file, kind).read_bytes())
        named = kind == "sr" or file.name in answer.masks
        sound = len(data) <= MOST_BYTES and named and _model_in(dataset, kind, answer.model)
    except Exception:  # pydicom says in many ways that it cannot read something
        sound = False
    if not sound:
        raise ConfigError(
            "A DICOM file among the answers is no result of the answer beside it; nothing was stored.",
            remedy="Name the folder of `wardround predict --out`, and let it write SR and SEG anew.",
        )
    return Result(kind, answer.model, data, dataset)


def _answer_of(file: Path, kind: str) -> Path:
    return file.with_suffix(".json") if kind == "sr" else file.with_name(_SEG_ENDING.sub(".json", file.name))


def _model_in(dataset: Dataset, kind: str, model: str) -> bool:
    """Whether an object says that it is of a model: a report once, a segmentation of each of its segments."""
    if kind == "sr":
        return any(item.get("TextValue") == model for item in dataset.ContentSequence)
    by = [segment.SegmentationAlgorithmIdentificationSequence[0] for segment in dataset.SegmentSequence]
    return bool(by) and all(one.AlgorithmVersion == model for one in by)
