"""A hospital's CSV or TSV table, line by line: which column names the image, and what the others are called here.

Decides how a table is opened, and by which column its lines are found (`file`, else `accession`, else `patient`). What
a line says is left to `labels` and `clinical_table`. Messages never quote a cell or a name of a column that site.toml
does not have.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.imaging.label_settings import LabelSettings, fold
from shared.errors import ConfigError

Key = Literal["file", "accession", "patient"]
KEYS: dict[str, tuple[Key, ...]] = {  # columns that may name an image of a kind, the best first
    "dicom": ("file", "accession", "patient"),
    "nifti": ("file",),
    "pictures": ("file",),
}
_MAX_BYTES = 256 * 2**20
_MAX_HEADER = 2**16  # characters
_CODECS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1252": "cp1252"}
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class TableWords:
    """What a table is called where it cannot be used, and what is to be done then.

    `whole`: every column that `labels.columns` names has to be there.
    """

    called: str
    remedy: str
    whole: bool

    def unusable(self, what: str) -> ConfigError:
        """The error that says so."""
        return ConfigError(f"{self.called} {what}.", remedy=self.remedy)


class Lines:
    """The lines of an open table that name an image: its key, and the cells by what their columns are called here."""

    def __init__(self, key: Key, names: Sequence[str], lines: "csv.DictReader[str]", about: TableWords) -> None:
        self.key, self.columns = key, frozenset(names)
        self.names, self._lines, self._about = names, lines, about

    def insist_once(self, names: Iterable[str]) -> None:
        """Raise `ConfigError`: the table has several columns of one of these names, and nobody knows which counts."""
        if several := sorted(name for name in {*map(fold, names)} if self.names.count(name) > 1):
            raise self._about.unusable(f"has several columns {', '.join(several)}")

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        for line in self._lines:
            # An unquoted separator in a cell shifts all that follow it: a label would be read from another column.
            if any(cell.strip() for cell in line.pop(None, ())):
                raise self._about.unusable(f"has more cells in line {self._lines.line_num:,} than columns")
            cells = {name: text or "" for name, text in line.items()}
            if value := normal(self.key, cells.get(self.key, "")):
                yield value, cells


@contextmanager
def open_table(path: Path, about: TableWords, *, keys: Sequence[Key], settings: LabelSettings) -> Iterator[Lines]:
    """Open a table for reading.

    Args:
        path: a CSV or TSV file with a header line, whose separator is the one of `,`, `;` and tab that stands most
            often in that line.
        about: what is said of one that cannot be used.
        keys: columns that may name the image, the best first.
        settings: the table's encoding, and what its columns are called here.

    Raises:
        ConfigError: at once or at a later line: the file is absent, too large, not such a table, or lacks the columns.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise about.unusable("is larger than 256 MiB")
        with path.open(encoding=_CODECS[settings.encoding], newline="") as file:
            header = file.readline(_MAX_HEADER)
            file.seek(0)
            lines = csv.DictReader(file, strict=True, delimiter=max(_SEPARATORS, key=header.count))
            lines.fieldnames = columns = _columns([str(name or "") for name in lines.fieldnames or ()], about, settings)
            key = next((name for name in keys if name in columns), None)
            if key is None:
                raise about.unusable(f"has no column {' or '.join(f'`{name}`' for name in keys)}")
            found = Lines(key, columns, lines, about)
            found.insist_once([key])
            yield found
    except UnicodeError:
        raise about.unusable(f"cannot be read as {settings.encoding} (labels.encoding)") from None
    except csv.Error:
        what = f"cannot be read beyond line {lines.line_num:,}: a cell or its quotation does not end"
        raise about.unusable(what) from None
    except OSError as error:
        raise about.unusable(f"cannot be read ({error.strerror})") from None


def normal(key: Key, value: str) -> str:
    """A key as it is compared: without outer blanks, and a path with forward slashes."""
    value = value.strip()
    return value.replace("\\", "/").removeprefix("./") if key == "file" else value


def _columns(header: Sequence[str], about: TableWords, settings: LabelSettings) -> list[str]:
    """What the columns are called here; one that another is mapped over has no name."""
    names = [fold(name) for name in header]
    absent = [f'"{name}"' for name in settings.columns if fold(name) not in names]
    if absent and about.whole:
        raise ConfigError(
            f"{about.called} has no column {', '.join(absent)}, which labels.columns in site.toml names.",
            remedy="Correct labels.columns, or the table's first line.",
        )
    mapped = {fold(theirs): fold(ours) for theirs, ours in settings.columns.items() if fold(theirs) in names}
    return [mapped.get(name, "" if name in mapped.values() else name) for name in names]
