"""Writes the report beside the study: `report.html` and `report.csv`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.report.comparison import Comparison, compared
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.page import render
from server.report.table import as_csv
from server.study_folder import StudyFolder
from shared.durable import write_atomically
from shared.errors import ResourceError

PAGE, TABLE = "report.html", "report.csv"


def write_report(folder: StudyFolder) -> Path:
    """Write a study's report, whatever has become of the study; an older one is replaced.

    Returns:
        The page, self-contained; the table lies beside it.

    Raises:
        StudyError: the folder holds no sound study.
        TrustError: its journal is no sound chain.
        ResourceError: the disk refused.
    """
    facts = facts_of(read_evidence(folder))
    try:
        write_atomically(folder.path / TABLE, as_csv(facts).encode(), mode=0o600)
        write_atomically(folder.path / PAGE, render(facts).encode(), mode=0o600)
    except OSError as error:
        raise ResourceError(
            f"The report could not be written ({error.strerror}).", remedy="Make room on the study's disk."
        ) from None
    return folder.path / PAGE


def report_data(folder: StudyFolder) -> dict[str, Any]:
    """The facts of a study's report as JSON values; raises as `write_report`."""
    facts = facts_of(read_evidence(folder))
    return asdict(facts) | {"sentence": facts.headline.sentence}


def compare(a: StudyFolder, b: StudyFolder) -> Comparison:
    """Two studies side by side; raises as `write_report`."""
    return compared(read_evidence(a), read_evidence(b))
