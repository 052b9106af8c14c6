"""The reports among the answers of `wardround predict`: which of the folder's DICOM files are one, and of which model.

A file counts if it is an Enhanced SR, an answer lies beside it, and the report says itself that it is of the answer's
model. A folder with any other DICOM file is refused: nothing that is not Wardround's is stored in its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from client.imaging.structured_report import ENHANCED_SR
from client.prediction import Prediction
from shared.errors import ConfigError

MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Result:
    """One object that can be stored.

    Attributes:
        kind: `sr`.
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
    """The reports of a folder of answers, in the order of their names.

    Raises:
        ConfigError: it holds none, or a DICOM file that is no report of the answer beside it.
    """
    files = sorted(folder.rglob("*.dcm"))
    if not files:
        raise ConfigError(
            "There is no DICOM report among these answers.",
            remedy="Name the folder of `wardround predict --out`; given --dicom-sr it writes them.",
        )
    return map(_result, files)


def _result(file: Path) -> Result:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        dataset, answer = dcmread(BytesIO(data)), Prediction.model_validate_json(file.with_suffix(".json").read_bytes())
        named = any(item.get("TextValue") == answer.model for item in dataset.get("ContentSequence") or ())
        sound = len(data) <= MOST_BYTES and dataset.SOPClassUID == ENHANCED_SR and named
    except Exception:  # pydicom says in many ways that it cannot read something
        sound = False
    if not sound:
        raise ConfigError(
            "A DICOM file among the answers is no report of the answer beside it; nothing was stored.",
            remedy="Name the folder of `wardround predict --out`, and let it write the reports anew.",
        )
    return Result("sr", answer.model, data, dataset)
