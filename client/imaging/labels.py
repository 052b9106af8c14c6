"""The hospital's CSV or TSV table of labels: which line speaks about which image.

Decides what a line says (labels, patient, split, the file of the mask) and what becomes of two about one image. How
lines are found is left to `site_table`, what the words mean to `vocabulary`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.imaging.clinical import Clinical, ClinicalReader, merged
from client.imaging.examples import Split
from client.imaging.label_settings import AS_IT_STANDS, LabelSettings, fold
from client.imaging.reasons import Reason, SetAside
from client.imaging.site_table import Key, Lines, TableWords, normal, open_table
from client.imaging.vocabulary import Vocabulary

LABELS = TableWords(
    "The label table", "Correct data.labels or labels.columns in site.toml, or the table itself.", whole=True
)
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
        value = normal(self.key, value)
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
    with open_table(path, LABELS, keys=keys, settings=settings) as lines:
        return LabelTable(lines.key, _entries(lines, vocabulary, clinical))


def label_columns(path: Path, *, keys: Sequence[Key], settings: LabelSettings) -> tuple[str, ...]:
    """What the columns of a label table are called here, in its order; for the site's own terminal alone.

    Raises:
        ConfigError: as `read_labels`.
    """
    with open_table(path, LABELS, keys=keys, settings=settings) as lines:
        return tuple(name for name in lines.names if name)


def _entries(lines: Lines, vocabulary: Vocabulary | None, clinical: ClinicalReader | None) -> dict[str, Entry]:
    classes = [fold(name) for name in vocabulary.task.classes] if vocabulary else []
    if "label" not in lines.columns and not set(classes) <= lines.columns:
        raise LABELS.unusable("has neither a column `label` nor one column per class of the study")
    lines.insist_once(("label", "patient", "split", "mask", *classes, *(clinical.cells if clinical else ())))
    entries: dict[str, Entry] = {}
    for value, cells in lines:
        entry = _entry(cells, vocabulary, classes, clinical)
        known = entries.setdefault(value, entry)
        if known != entry:
            entries[value] = Entry(None, reason=Reason.LABEL_CONFLICT)
        elif known is not entry:
            entries[value] = replace(known, clinical=merged(known.clinical, entry.clinical))
    return entries


def _entry(
    cells: dict[str, str], vocabulary: Vocabulary | None, classes: Sequence[str], clinical: ClinicalReader | None
) -> Entry:
    patient = cells.get("patient", "").strip() or None
    flags = None if "label" in cells else [cells.get(name, "") for name in classes]
    mask = normal("file", cells.get("mask", "")) or None
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
