"""An answer as a DICOM structured report beside the exam: Enhanced SR (PS3.3 A.35.2), unverified and for research.

Decides what stands in it: the notice first, then each class with its probability and call, and by which model. Patient
and study are those of the exam's own header, as they stand there; the report is a new series of the same study and
names the images that it is about. Whether it may be stored in a PACS, `client/cli/store.py` decides.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from pydicom import dcmread
from pydicom.dataset import Dataset

from client.imaging.derived_object import OF_PATIENT, OF_STUDY, OURS, as_file, code, derived

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
_READ = (*OF_PATIENT, *OF_STUDY, "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet")


@dataclass(frozen=True)
class Statement:
    """One class: what it is called, its probability, and whether it is called."""

    name: str
    probability: float
    called: bool


@dataclass(frozen=True)
class ReportWords:
    """What the report says, besides whom it is about."""

    notice: str
    statements: Sequence[Statement]
    model: str
    study: str
    calibration: str
    operating_point: str
    version: str
    made: datetime
    beside: str = field(default="", repr=False)  # what the model was told beside the images, if it was


@dataclass(frozen=True)
class Header:
    """The elements of one image that a report of it repeats, and the SHA-256 of its file."""

    elements: Dataset = field(repr=False)
    sha256: str


def header_of(data: bytes) -> Header:
    """Read what a report needs; the decoder has read these very bytes within its limits."""
    found = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True, specific_tags=list(_READ))
    return Header(found, sha256(data).hexdigest())


def structured_report(headers: Sequence[Header], words: ReportWords) -> bytes:
    """The report as a DICOM file.

    Args:
        headers: of the exam's images, at least one.
        words: what it says.
    """
    report = derived(
        headers[0].elements,
        sop_class=ENHANCED_SR,
        modality="SR",
        notice=words.notice,
        model=words.model,
        files=[*(header.sha256 for header in headers), *filter(None, [words.beside])],
        version=words.version,
        made=words.made,
    )
    report.ReferencedPerformedProcedureStepSequence = []
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.PerformedProcedureCodeSequence = []
    report.CurrentRequestedProcedureEvidenceSequence = [_evidence(headers)]
    _fill(report, words)
    return as_file(report)


def _evidence(headers: Sequence[Header]) -> Dataset:
    """The images that were read, by series."""
    evidence, series = Dataset(), dict[str, Dataset]()
    for header in headers:
        uid = str(header.elements.SeriesInstanceUID)
        if uid not in series:
            series[uid] = Dataset()
            series[uid].SeriesInstanceUID, series[uid].ReferencedSOPSequence = uid, []
        image = Dataset()
        image.ReferencedSOPClassUID = header.elements.SOPClassUID
        image.ReferencedSOPInstanceUID = header.elements.SOPInstanceUID
        series[uid].ReferencedSOPSequence.append(image)
    evidence.StudyInstanceUID = headers[0].elements.StudyInstanceUID
    evidence.ReferencedSeriesSequence = list(series.values())
    return evidence


def _fill(report: Dataset, words: ReportWords) -> None:
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    report.ContentSequence = [_text("121106", "DCM", "Comment", words.notice)]
    for number, one in enumerate(words.statements, 1):
        call = "called" if one.called else "not called"
        report.ContentSequence += [
            _number(f"P{number}", f"Probability of {one.name}", one.probability),
            _text(f"C{number}", OURS, f"Call of {one.name}", call),
        ]
    for place, (meaning, text) in enumerate(
        (
            ("Calibration", words.calibration),
            ("Operating point", words.operating_point),
            ("Federated study", words.study),
            ("SHA-256 of the model", words.model),
        ),
        start=1,
    ):
        report.ContentSequence.append(_text(f"M{place}", OURS, meaning, text))


def _text(value: str, scheme: str, meaning: str, text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = [code(value, scheme, meaning)]
    return item


def _number(value: str, meaning: str, share: float) -> Dataset:
    item, measured = Dataset(), Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "NUM"
    item.ConceptNameCodeSequence = [code(value, OURS, meaning)]
    measured.MeasurementUnitsCodeSequence = [code("1", "UCUM", "no units")]
    measured.NumericValue = f"{share:.6f}"
    item.MeasuredValueSequence = [measured]
    return item
