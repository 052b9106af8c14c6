"""The hospital's CSV table of labels: which line speaks about which image.

Decides how a line is found (by `file`, else `accession`, else `patient`) and what it says (labels,
patient, split). What the words mean is left to `vocabulary`. Messages never quote a cell.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from client.imaging.examples import Split
from client.imaging.reasons import Reason, SetAside
from client.imaging.vocabulary import Vocabulary
from shared.errors import ConfigError

Key = Literal["file", "accession", "patient"]
KEYS: dict[str, tuple[Key, ...]] = {  # columns that may name an image of a kind, the best first
    "dicom": ("file", "accession", "patient"),
    "nifti": ("file",),
    "pictures": ("file",),
}
_MAX_BYTES = 256 * 2**20
_SPLITS = {"train": Split.TRAIN, "validation": Split.VALIDATION, "val": Split.VALIDATION, "test": Split.TEST}


@dataclass(frozen=True)
class Entry:
    """What the table says about one key; `reason` is why it cannot be used, or None."""

    labels: tuple[int, ...] | None
    patient: str | None = None
    split: Split | None = None
    reason: Reason | None = None


def split_of(word: str) -> Split | None:
    """A split from its name; None for an empty one.

    Raises:
        SetAside: another word.
    """
    word = word.strip().lower()
    if word and word not in _SPLITS:
        raise SetAside(Reason.SPLIT_UNKNOWN)
    return _SPLITS.get(word)


class LabelTable:
    """The lines of a label table by key; remembers which of them were asked for."""

    def __init__(self, key: Key, entries: dict[str, Entry]) -> None:
        self.key = key
        self._entries = entries
        self._asked: set[str] = set()

    def find(self, value: str) -> Entry:
        """What the table says; an entry with the reason `unlabelled` if it says nothing."""
        value = _normal(self.key, value)
        self._asked.add(value)
        return self._entries.get(value, Entry(None, reason=Reason.UNLABELLED))

    @property
    def unused(self) -> int:
        """Keys that nobody asked for."""
        return len(self._entries.keys() - self._asked)


def read_labels(path: Path, vocabulary: Vocabulary | None, *, keys: Sequence[Key]) -> LabelTable:
    """Read a label table.

    Args:
        path: a CSV file in UTF-8 with a header line.
        vocabulary: the study's classes; None leaves the labels themselves unread.
        keys: columns that may name the image, the best first.

    Raises:
        ConfigError: the file is absent, too large, not CSV, or lacks the columns.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unusable("is larger than 256 MiB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _table(csv.DictReader(file, strict=True), vocabulary, keys)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unusable(f"cannot be read ({type(error).__name__})") from None


def _table(reader: "csv.DictReader[str]", vocabulary: Vocabulary | None, keys: Sequence[Key]) -> LabelTable:
    columns = [str(name or "").strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    key = next((name for name in keys if name in columns), None)
    if key is None:
        raise _unusable(f"has none of the columns {', '.join(keys)}")
    classes = [name.strip().lower() for name in vocabulary.task.classes] if vocabulary else []
    if "label" not in columns and not set(classes) <= set(columns):
        raise _unusable("has neither a column `label` nor one column per class of the study")
    entries: dict[str, Entry] = {}
    for value, entry in _entries(reader, vocabulary, key, classes):
        known = entries.setdefault(value, entry)
        if known != entry:
            entries[value] = Entry(None, reason=Reason.LABEL_CONFLICT)
    return LabelTable(key, entries)


def _entries(
    lines: Iterable[dict[str | Any, str | Any]], vocabulary: Vocabulary | None, key: Key, classes: Sequence[str]
) -> Iterator[tuple[str, Entry]]:
    for line in lines:
        cells = {
            name: text or "" for name, text in line.items() if isinstance(name, str) and not isinstance(text, list)
        }
        value = _normal(key, cells.get(key, ""))
        if value:
            yield value, _entry(cells, vocabulary, classes)


def _entry(cells: dict[str, str], vocabulary: Vocabulary | None, classes: Sequence[str]) -> Entry:
    patient = cells.get("patient", "").strip() or None
    try:
        if vocabulary is None:
            labels = None
        elif "label" in cells:
            labels = vocabulary.from_word(cells["label"])
        else:
            labels = vocabulary.from_flags([cells[name] for name in classes])
        return Entry(labels, patient, split_of(cells.get("split", "")))
    except SetAside as error:
        return Entry(None, patient, reason=error.reason)


def _normal(key: Key, value: str) -> str:
    value = value.strip()
    return value.replace("\\", "/").removeprefix("./") if key == "file" else value


def _unusable(what: str) -> ConfigError:
    return ConfigError(f"The label table {what}.", remedy="Correct data.labels in site.toml or the table itself.")
