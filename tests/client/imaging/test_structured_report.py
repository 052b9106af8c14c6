"""Reports are sound by the judgement of two other readers, and name patient, exam, images and model."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from dicom_judges import said_by, tool

from client.imaging.structured_report import ReportWords, Statement, header_of, structured_report
from client.prediction.answer import Finding, Prediction, ReadFile
from client.prediction.dicom_reports import DicomReports
from shared.canonical import digest
from shared.model_card import RESEARCH_ONLY

MODEL = "ab" * 32
WORDS = ReportWords(
    notice=RESEARCH_ONLY,
    statements=[Statement("opacity", 0.8125, True), Statement("effusion", 0.25, False)],
    model=MODEL,
    study="chest",
    calibration="Platt scaling, fitted on 450 pooled validation patients",
    operating_point="Youden's threshold",
    version="0.1",
    made=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
FILES = [
    *("pydicom_test_files/CT_small.dcm", "pydicom_test_files/MR_small.dcm"),
    *("mr_series_24/N2D_0181.dcm", "pydicom_test_files/SC_rgb_rle.dcm"),
]


@pytest.mark.parametrize("file", FILES)
def test_two_other_readers_find_no_error(shared_data: Path, tmp_path: Path, file: str) -> None:
    checker, reader = tool("dciodvfy", "dicom3tools"), tool("dsrdump", "dcmtk")
    report = tmp_path / "report.dcm"
    report.write_bytes(structured_report([header_of((shared_data / "dicom" / file).read_bytes())], WORDS))
    judged = said_by(checker, report)
    assert "EnhancedSR" in judged
    assert "Error" not in judged
    told = said_by(reader, "+Pl", report)
    assert RESEARCH_ONLY in told and MODEL in told
    assert '"Probability of opacity")="0.812500" (1,UCUM' in told
    assert '"Call of effusion")="not called"' in told


def test_patient_exam_and_images_are_those_of_the_header(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "dicom" / "mr_series_24").glob("*.dcm"))[:3]
    (tmp_path / "r.dcm").write_bytes(structured_report([header_of(file.read_bytes()) for file in files], WORDS))
    report, source = pydicom.dcmread(tmp_path / "r.dcm"), pydicom.dcmread(files[0])
    for name in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert report[name].value == source[name].value
    assert report.SeriesInstanceUID != source.SeriesInstanceUID
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [image.ReferencedSOPInstanceUID for image in series.ReferencedSOPSequence] == [
        pydicom.dcmread(file).SOPInstanceUID for file in files
    ]


def prediction(file: Path, sha256: str) -> Prediction:
    finding = Finding(name="opacity", probability=0.5, called=True)
    rest = {"study": "chest", "model": MODEL, "calibration": "none", "operating_point": "half", "set_aside": {}}
    return Prediction(
        exam="1.2.3", findings=(finding,), files=(ReadFile(file=file.name, sha256=sha256, images=1),), **rest
    )


def test_bytes_that_the_decoder_did_not_read_make_no_report(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "dicom" / "pydicom_test_files" / "CT_small.dcm"
    reports = DicomReports(file.parent, tmp_path, now=lambda: WORDS.made)
    reports.hear(prediction(file, "0" * 64))
    assert (reports.written, reports.missing, list(tmp_path.iterdir())) == (0, 1, [])
    reports.hear(prediction(file, digest(file.read_bytes())))
    assert (reports.written, [path.name for path in tmp_path.iterdir()]) == (1, ["1.2.3.dcm"])


def test_a_header_without_an_exam_makes_no_report(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"no header at all")
    reports = DicomReports(tmp_path, tmp_path / "out", now=lambda: WORDS.made)
    reports.hear(prediction(tmp_path / "odd", digest(b"no header at all")))
    assert (reports.written, reports.missing) == (0, 1)


def test_written_anew_it_is_the_same_object_and_of_another_model_another(shared_data: Path) -> None:
    def uids(words: ReportWords, file: str = FILES[0]) -> tuple[str, str]:
        report = structured_report([header_of((shared_data / "dicom" / file).read_bytes())], words)
        found = pydicom.dcmread(BytesIO(report))
        return found.SOPInstanceUID, found.SeriesInstanceUID

    later = replace(WORDS, made=datetime(2026, 3, 4, tzinfo=UTC))
    assert uids(WORDS) == uids(later)
    others = (replace(WORDS, model="cd" * 32), replace(WORDS, beside="ef" * 32))  # another model, other clinical values
    assert len({*uids(WORDS), *uids(WORDS, FILES[1]), *(uid for other in others for uid in uids(other))}) == 8
