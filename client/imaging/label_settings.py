"""The `[labels]` table of site.toml: what the site's words and columns are called in the study.

Decides how a mapping is written and what contradicts itself whatever the study. Whether the study has the class that
a word leads to is left to `vocabulary`, whether the table has a column to `labels`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from client.imaging.settings import Word
from shared.clinical import Unit
from shared.section import Section

Words = Annotated[dict[Word, Word], Field(max_length=10_000)]


def fold(text: str) -> str:
    """How words and names of columns are compared: without case and outer blanks."""
    return text.strip().casefold()


class ClinicalSource(Section):
    """Where a clinical column of the study comes from: a column of the site's table, by the site's name.

    `unit` is the table's and is converted, or `factor` makes a value of the table one in the study's unit; without
    both the table has the study's unit. `words` leads from what stands in the cells to a value, or to `missing`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    unit: Unit | None = None
    factor: Annotated[float, Field(gt=0, le=1e12)] | None = None
    words: Words = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_conversion(self) -> Self:
        if self.unit is not None and self.factor is not None:
            raise ValueError("give unit or factor, not both")
        if twice := _twice(self.words):
            raise ValueError(f"words names {', '.join(twice)} more than once, case and outer blanks aside")
        return self


class LabelSettings(Section):
    """The site's dictionary: on the left what stands in its table, on the right what the study calls it.

    `columns` leads from the table's names of columns to `file`, `accession`, `patient`, `label`, `split`, `mask`
    or a class of the study. `words` leads from what stands in the cells to a class, `positive`, `negative`, or
    `unlabelled`. `clinical` says the same of what is known beside the image. Case and outer blanks do not count. The
    separator of the columns is seen from the first line.
    """

    encoding: Literal["utf-8", "utf-16", "windows-1252"] = "utf-8"
    decimal: Literal[".", ","] = "."
    columns: Words = Field(default_factory=dict)
    words: Words = Field(default_factory=dict)
    clinical: Annotated[dict[Word, ClinicalSource], Field(max_length=1000)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_says_one_thing(self) -> Self:
        if twice := _twice(self.columns):
            raise ValueError(f"columns names {', '.join(twice)} more than once, case and outer blanks aside")
        if twice := _twice(self.words):
            raise ValueError(f"words names {', '.join(twice)} more than once, case and outer blanks aside")
        targets = [fold(name) for name in self.columns.values()]
        if several := sorted({name for name in targets if targets.count(name) > 1}):
            raise ValueError(f"columns makes several columns {', '.join(several)}; a line has one of each")
        names = [source.name for source in self.clinical.values()]
        if several := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"clinical takes {', '.join(several)} from several columns")
        return self


def _twice(mapping: Mapping[str, str]) -> list[str]:
    names = [fold(name) for name in mapping]
    return sorted({name for name in names if names.count(name) > 1})


AS_IT_STANDS = LabelSettings()  # a site whose table has the study's words already
