"""Answers as DICOM structured reports, each beside its JSON file.

A report repeats its exam's header. It is read again from the file, and only if its bytes are those that the decoder
read within its limits; an exam whose header does not give what a report needs has none, and is counted. What stands in
a report, `imaging/structured_report.py` decides.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from client.imaging.structured_report import Header, ReportWords, Statement, header_of, structured_report
from client.prediction.answer import Known, Prediction, place_of
from shared.canonical import digest
from shared.durable import write_atomically


class DicomReports:
    """Writes the reports of a run.

    Args:
        folder: the images.
        out: the folder of the answers.
        now: the time.

    Attributes:
        written: reports.
        missing: exams without one.
    """

    def __init__(self, folder: Path, out: Path, *, now: Callable[[], datetime]) -> None:
        self._folder, self._out, self._now = folder, out, now
        self.written = self.missing = 0

    def hear(self, said: Prediction) -> None:
        """An exam was answered."""
        try:
            report = structured_report(list(self._headers(said)), self._words(said))
        except Exception:  # whatever a header that nobody vouches for brings about
            self.missing += 1
            return
        write_atomically(place_of(self._out, said.exam).with_suffix(".dcm"), report, mode=0o600)
        self.written += 1

    def keep(self, said: Prediction) -> None:
        """An exam was answered by an earlier run, which may have written no report, or one of an answer before."""
        answer = place_of(self._out, said.exam)
        report = answer.with_suffix(".dcm")
        if not report.exists() or report.stat().st_mtime_ns < answer.stat().st_mtime_ns:
            self.hear(said)

    def _headers(self, said: Prediction) -> Iterator[Header]:
        for file in said.files:
            data = (self._folder / file.file).read_bytes()
            if file.images and sha256(data).hexdigest() == file.sha256:
                yield header_of(data)

    def _words(self, said: Prediction) -> ReportWords:
        found = [Statement(finding.name, finding.probability, finding.called) for finding in said.findings]
        return ReportWords(
            notice=said.notice,
            statements=found,
            model=said.model,
            study=said.study,
            calibration=said.calibration,
            operating_point=said.operating_point,
            version=version("wardround"),
            made=self._now(),
            beside=digest(said.clinical.model_dump_json().encode()) if said.clinical != Known() else "",
        )
