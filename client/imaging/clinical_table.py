"""A hospital's table of what is known of its patients beside the images, for a model that takes such columns.

Decides what is known of an exam that nobody has labelled: lines are found and values read as a study does it
(`site_table`, `clinical`), and what several lines say of one exam is merged as lines about one image are. Labels,
splits and masks of the table are not read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from client.imaging.clinical import Clinical, ClinicalReader, Missing, merged
from client.imaging.doubtful import says_nobody
from client.imaging.exams import ExamFile
from client.imaging.label_settings import LabelSettings
from client.imaging.site_table import Key, Lines, TableWords, normal, open_table
from shared.clinical import Columns

_WORDS = TableWords("The clinical table", "Correct --clinical or the table itself.", whole=False)


class ClinicalTable:
    """The table, read.

    Args:
        path: a table as of labels (`site_table.open_table`).
        columns: that the model takes.
        keys: columns that may name an image, the best first.
        settings: the site's dictionary, the `[labels]` table of its site.toml.

    Raises:
        ConfigError: it cannot be read, or a unit or word of the settings leads nowhere.
    """

    def __init__(self, path: Path, columns: Columns, *, keys: Sequence[Key], settings: LabelSettings) -> None:
        self._columns, reader = columns, ClinicalReader(columns, settings)
        with open_table(path, _WORDS, keys=keys, settings=settings) as lines:
            self._key, self._known = lines.key, _by_key(lines, reader)

    def of(self, files: Sequence[ExamFile]) -> Clinical:
        """Every column of the model for an exam, by its files."""
        names = (self._name(file) for file in files)
        lines = [self._known[name] for name in dict.fromkeys(names) if name in self._known]
        if not lines:
            return dict.fromkeys(self._columns, Missing.NO_LINE)
        known = lines[0]
        for line in lines[1:]:
            known = merged(known, line)
        return known

    def _name(self, file: ExamFile) -> str:
        patient = "" if says_nobody(file.facts.patient) else file.facts.patient
        names = {"file": file.file, "accession": file.facts.accession, "patient": patient}
        return normal(self._key, names[self._key])


def _by_key(lines: Lines, reader: ClinicalReader) -> Mapping[str, Clinical]:
    lines.insist_once(("patient", *reader.cells))
    known, patients = dict[str, Clinical](), dict[str, str]()
    for name, cells in lines:
        line, patient = reader.read(cells), cells.get("patient", "").strip()
        if patients.setdefault(name, patient) != patient:  # two people under one name
            line = dict.fromkeys(line, Missing.CONFLICT)
        known[name] = merged(known[name], line) if name in known else line
    return known
