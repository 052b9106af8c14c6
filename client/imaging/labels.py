"""The hospital's CSV or TSV table of labels: which line speaks about which image.

Decides how a line is found (by `file`, else `accession`, else `patient`) and what it says (labels,
patient, split, the file of the mask). What the words mean is left to `vocabulary`. Messages never quote a cell or a
name of a column that site.toml does not have.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from client.imaging.clinical import Clinical, ClinicalReader, merged
from client.imaging.examples import Split
from client.imaging.label_settings import AS_IT_STANDS, LabelSettings, fold
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
_MAX_HEADER = 2**16  # characters
_CODECS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1252": "cp1252"}
_SEPARATORS = ",;\t"
_SPLITS = {"train": Split.TRAIN, "validation": Split.VALIDATION, "val": Split.VALIDATION, "test": Split.TEST}


@dataclass(frozen=True)
class Entry:
    """What the table says about one key; `reason` is why it cannot be used, or None.

    `unknown` are the words of its label that the study does not know.
    """

    labels: tuple[int, ...] | None
    patient: str | None = None
    split: Split | None = None
    reason: Reason | None = None
    unknown: tuple[str, ...] = field(default=(), repr=False, compare=False)
    clinical: Clinical = field(default_factory=dict, repr=False, compare=False)
    mask: str | None = None


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
    def masks(self) -> frozenset[str]:
        """The files that it calls masks, which are no images."""
        return frozenset(entry.mask for entry in self._entries.values() if entry.mask)

    @property
    def unused(self) -> int:
        """Keys that nobody asked for."""
        return len(self._entries.keys() - self._asked)


def read_labels(
    path: Path,
    vocabulary: Vocabulary | None,
    *,
    keys: Sequence[Key],
    settings: LabelSettings = AS_IT_STANDS,
    clinical: ClinicalReader | None = None,
) -> LabelTable:
    """Read a label table.

    Args:
        path: a CSV or TSV file with a header line, whose separator is the one of `,`, `;` and tab that stands most
            often in that line.
        vocabulary: the study's classes; None leaves the labels themselves unread.
        keys: columns that may name the image, the best first.
        settings: the table's encoding, and what its columns are called here.
        clinical: reads the study's clinical columns, if it has any.

    Raises:
        ConfigError: the file is absent, too large, not such a table, or lacks the columns.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unusable("is larger than 256 MiB")
        with path.open(encoding=_CODECS[settings.encoding], newline="") as file:
            header = file.readline(_MAX_HEADER)
            file.seek(0)
            lines = csv.DictReader(file, strict=True, delimiter=max(_SEPARATORS, key=header.count))
            return _table(lines, vocabulary, keys, settings, clinical)
    except UnicodeError:
        raise _unusable(f"cannot be read as {settings.encoding} (labels.encoding)") from None
    except (OSError, csv.Error) as error:
        raise _unusable(f"cannot be read ({type(error).__name__})") from None


def _table(
    reader: "csv.DictReader[str]",
    vocabulary: Vocabulary | None,
    keys: Sequence[Key],
    settings: LabelSettings,
    clinical: ClinicalReader | None,
) -> LabelTable:
    columns = _columns([str(name or "") for name in reader.fieldnames or ()], settings)
    reader.fieldnames = columns
    key = next((name for name in keys if name in columns), None)
    if key is None:
        raise _unusable(f"has none of the columns {', '.join(keys)}")
    classes = [fold(name) for name in vocabulary.task.classes] if vocabulary else []
    if "label" not in columns and not set(classes) <= set(columns):
        raise _unusable("has neither a column `label` nor one column per class of the study")
    entries: dict[str, Entry] = {}
    for value, cells in _lines(reader, key):
        entry = _entry(cells, vocabulary, classes, clinical)
        known = entries.setdefault(value, entry)
        if known != entry:
            entries[value] = Entry(None, reason=Reason.LABEL_CONFLICT)
        elif known is not entry:
            entries[value] = replace(known, clinical=merged(known.clinical, entry.clinical))
    return LabelTable(key, entries)


def _columns(header: Sequence[str], settings: LabelSettings) -> list[str]:
    """What the columns are called here; one that another is mapped over has no name."""
    names = [fold(name) for name in header]
    mapped = {fold(theirs): fold(ours) for theirs, ours in settings.columns.items()}
    if absent := [f'"{name}"' for name in settings.columns if fold(name) not in names]:
        raise ConfigError(
            f"The label table has no column {', '.join(absent)}, which labels.columns in site.toml names.",
            remedy="Correct labels.columns, or the table's first line.",
        )
    return [mapped.get(name, "" if name in mapped.values() else name) for name in names]


def _lines(lines: Iterable[dict[str | Any, str | Any]], key: Key) -> Iterator[tuple[str, dict[str, str]]]:
    for line in lines:
        cells = {
            name: text or "" for name, text in line.items() if isinstance(name, str) and not isinstance(text, list)
        }
        value = _normal(key, cells.get(key, ""))
        if value:
            yield value, cells


def _entry(
    cells: dict[str, str], vocabulary: Vocabulary | None, classes: Sequence[str], clinical: ClinicalReader | None
) -> Entry:
    patient = cells.get("patient", "").strip() or None
    flags = None if "label" in cells else [cells.get(name, "") for name in classes]
    mask = _normal("file", cells.get("mask", "")) or None
    try:
        if vocabulary is None:
            labels = None
        else:
            labels = vocabulary.from_word(cells["label"]) if flags is None else vocabulary.from_flags(flags)
        known = clinical.read(cells) if clinical else {}
        return Entry(labels, patient, split_of(cells.get("split", "")), clinical=known, mask=mask)
    except SetAside as error:
        unknown: tuple[str, ...] = ()
        if vocabulary is not None and error.reason is Reason.LABEL_UNKNOWN:
            in_word, in_flags = vocabulary.unknown_words, vocabulary.unknown_flags
            unknown = in_word(cells["label"]) if flags is None else in_flags(flags)
        return Entry(None, patient, reason=error.reason, unknown=unknown, mask=mask)


def _normal(key: Key, value: str) -> str:
    value = value.strip()
    return value.replace("\\", "/").removeprefix("./") if key == "file" else value


def _unusable(what: str) -> ConfigError:
    return ConfigError(f"The label table {what}.", remedy="Correct data.labels in site.toml or the table itself.")
