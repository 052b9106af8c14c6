"""Writes the report beside the study, `report.html` and `report.csv`, or by letter under names of its own."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.report.comparison import Comparison, compared
from server.report.evidence import Evidence, read_evidence
from server.report.facts import facts_of
from server.report.letters import Letters, by_letter, letters_key, sites_of
from server.report.page import render
from server.report.table import as_csv
from server.report.words import by_name
from server.study_folder import StudyFolder
from shared.durable import write_atomically
from shared.errors import ResourceError

PAGE, TABLE = "report.html", "report.csv"
LETTERED_PAGE, LETTERED_TABLE = "report-by-letter.html", "report-by-letter.csv"
Key = dict[str, str]  # by letter, the site's name


def write_report(folder: StudyFolder) -> Path:
    """Write a study's report, whatever has become of the study; an older one is replaced.

    Returns:
        The page, self-contained; the table lies beside it.

    Raises:
        StudyError: the folder holds no sound study.
        TrustError: its journal is no sound chain.
        ResourceError: the disk refused.
    """
    return _write(read_evidence(folder), folder.path / PAGE, folder.path / TABLE)


def write_report_by_letter(folder: StudyFolder, *, roster: Iterable[str] = ()) -> tuple[Path, Key]:
    """Write a study's report without the sites' names, beside the one with them; raises as `write_report`.

    Args:
        folder: the study's.
        roster: further names that the study's words may hold.

    Returns:
        The page, and who is who, which is written into neither file.
    """
    evidence, key = without_names(folder, read_evidence(folder), roster=roster)
    return _write(evidence, folder.path / LETTERED_PAGE, folder.path / LETTERED_TABLE), key


def without_names(folder: StudyFolder, evidence: Evidence, *, roster: Iterable[str] = ()) -> tuple[Evidence, Key]:
    """What was read of a study's folder, by letter, and who is who; raises `ResourceError` if the disk refuses."""
    letters = _letters(folder, sites_of(evidence), roster)
    return by_letter(evidence, letters), letters.key(sites_of(evidence))


def report_data(folder: StudyFolder, *, lettered: bool = False, roster: Iterable[str] = ()) -> dict[str, Any]:
    """The facts of a study's report as JSON values; raises as `write_report`."""
    evidence = read_evidence(folder)
    if lettered:
        evidence, _ = without_names(folder, evidence, roster=roster)
    facts = facts_of(evidence)
    return asdict(facts, dict_factory=by_name(facts.about.measure)) | {"sentence": facts.headline.sentence}


def compare(a: StudyFolder, b: StudyFolder) -> Comparison:
    """Two studies side by side; raises as `write_report`."""
    return compared(read_evidence(a), read_evidence(b))


def compare_by_letter(a: StudyFolder, b: StudyFolder, *, roster: Iterable[str] = ()) -> tuple[Comparison, Key]:
    """The same without the sites' names, in the letters of the first study, and who is who."""
    one, other = read_evidence(a), read_evidence(b)
    letters = _letters(a, sites_of(one), sites_of(other), roster)
    found = compared(by_letter(one, letters), by_letter(other, letters))
    return found, letters.key(sites_of(one) | sites_of(other))


def _letters(folder: StudyFolder, *groups: Iterable[str]) -> Letters:
    try:
        return Letters(letters_key(folder.path), *groups)
    except OSError as error:
        raise _refused(error) from None


def _write(evidence: Evidence, page: Path, table: Path) -> Path:
    facts = facts_of(evidence)
    try:
        write_atomically(table, as_csv(facts).encode(), mode=0o600)
        write_atomically(page, render(facts, table=table.name).encode(), mode=0o600)
    except OSError as error:
        raise _refused(error) from None
    return page


def _refused(error: OSError) -> ResourceError:
    return ResourceError(
        f"The report could not be written ({error.strerror}).", remedy="Make room on the study's disk."
    )
