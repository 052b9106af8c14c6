"""What a hospital's table knows of a patient beside the image, in the study's words and units.

Decides what one cell means for a column of the study, or why it says nothing: the fixed words of `Missing`, which are
counted. A value is never guessed. Which line speaks about which image is left to `labels`.
"""

import math
from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from client.imaging.label_settings import ClinicalSource, LabelSettings, fold
from client.imaging.units import factor
from shared.clinical import ClinicalColumn, Columns
from shared.errors import ConfigError

UNKNOWN_WORD = "missing"  # where a word leads that stands for no value


class Missing(StrEnum):
    """Why a value is not known."""

    EMPTY = "empty"
    UNREADABLE = "unreadable"
    OUT_OF_RANGE = "out_of_range"
    CONFLICT = "conflict"
    NO_COLUMN = "no_column"
    NO_LINE = "no_line"


GAPS = {
    Missing.EMPTY: "says nothing there",
    Missing.UNREADABLE: "has no number or value of the study there",
    Missing.OUT_OF_RANGE: "has a number out of the study's range",
    Missing.CONFLICT: "says two things",
    Missing.NO_COLUMN: "has no such column",
    Missing.NO_LINE: "has no line for the exam",
}
Clinical = Mapping[str, float | Missing]  # by the study's column; a category by its position in the values
_EMPTY = frozenset({"", "nan", "none", "null", "n/a", "na", UNKNOWN_WORD})


class ClinicalReader:
    """Reads the columns of a study from the cells of a line.

    Args:
        columns: the study's.
        settings: what the site calls them, and in which units it has them.

    Raises:
        ConfigError: a unit cannot be converted, or a word leads to a value that the study lacks.
    """

    def __init__(self, columns: Columns, settings: LabelSettings) -> None:
        self._decimal = settings.decimal
        named = {source.name: (theirs, source) for theirs, source in settings.clinical.items()}
        as_it_stands = {name: (name, ClinicalSource(name=name)) for name in columns}
        self._sources = {name: (as_it_stands | named)[name] for name in columns}
        self._columns = {name: _Column(column, *self._sources[name]) for name, column in columns.items()}

    @property
    def cells(self) -> tuple[str, ...]:
        """The site's names of the columns."""
        return tuple(theirs for theirs, _ in self._sources.values())

    def read(self, cells: Mapping[str, str | np.generic]) -> Clinical:
        """Every column of the study.

        Args:
            cells: texts of a table, or values of arrays, by the site's names, folded.
        """
        found = ((name, cells.get(fold(theirs))) for name, (theirs, _) in self._sources.items())
        return {
            name: Missing.NO_COLUMN if cell is None else self._columns[name].read(str(cell), decimal=self._sign(cell))
            for name, cell in found
        }

    def _sign(self, cell: str | np.generic) -> str:
        """What stands before the decimals; the settings speak of texts, and a number is written with a point."""
        return self._decimal if isinstance(cell, str) else "."


class _Column:
    def __init__(self, column: ClinicalColumn, theirs: str, source: ClinicalSource) -> None:
        self._column = column
        self._words = {fold(word): fold(value) for word, value in source.words.items()}
        self._values = {fold(value): number for number, value in enumerate(column.values)}
        self._factor = _factor(column, theirs, source)
        known = {*self._values, UNKNOWN_WORD}
        lost = [f'"{word}" = "{value}"' for word, value in source.words.items() if fold(value) not in known]
        if lost and column.kind == "category":
            raise ConfigError(
                f'labels.clinical."{theirs}" in site.toml leads to no value of {source.name}: {", ".join(lost)}.',
                remedy=f"Use {', '.join(column.values)} or {UNKNOWN_WORD} on the right.",
            )

    def read(self, text: str, *, decimal: str) -> float | Missing:
        word = fold(text)
        word = self._words.get(word, word)
        if word in self._values:
            return float(self._values[word])
        if word in _EMPTY:
            return Missing.EMPTY
        if self._column.values or "." in word.replace(decimal, ""):  # beside a decimal comma it groups thousands
            return Missing.UNREADABLE
        return self._number(word.replace(decimal, "."))

    def _number(self, word: str) -> float | Missing:
        low, high = self._column.low, self._column.high
        assert low is not None and high is not None
        try:
            value = float(word) * self._factor if word.isascii() and "_" not in word else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            return Missing.UNREADABLE
        return value if low <= value <= high else Missing.OUT_OF_RANGE


def as_vector(known: Clinical, columns: Columns) -> list[float]:
    """The values in the order of the study's columns, as a network takes them: NaN where one is missing."""
    return [math.nan if isinstance(value, Missing) else value for value in (known[name] for name in columns)]


def merged(one: Clinical, other: Clinical) -> Clinical:
    """What two lines about one image say together: what only one knows, and nothing where they differ."""
    return {name: _agreed(value, other[name]) for name, value in one.items()}


def _agreed(one: float | Missing, other: float | Missing) -> float | Missing:
    if one == other or other is Missing.EMPTY:
        return one
    return other if one is Missing.EMPTY else Missing.CONFLICT


def _factor(column: ClinicalColumn, theirs: str, source: ClinicalSource) -> float:
    if source.factor is not None:
        return source.factor
    if source.unit is None:
        return 1.0
    known = factor(source.unit, column.unit or "1", molar_mass=column.molar_mass)
    if known is None or column.kind == "category":
        raise ConfigError(
            f'labels.clinical."{theirs}" in site.toml: {source.unit} is nothing that becomes {column.unit or "1"},'
            f" in which the study has {source.name}.",
            remedy="Correct the unit, or give `factor` instead, which a value of the table is multiplied with.",
        )
    return known
