"""The clinical columns of a study: what is known of a patient beside the image, such as age, sex and laboratory values.

Decides what a column is, in which unit and range its values count, and how wide it is for a network. How a hospital's
table is read is left to `client/imaging/clinical.py`, how columns join an image to `shared/networks/`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.section import Section

ColumnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9%/^*._\u00b5\u03bc-]{1,16}$")]
Value = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _+-]{0,47}$")]
Measure = Annotated[float, Field(ge=-1e12, le=1e12)]


class ClinicalColumn(Section):
    """One column.

    A `number` lies within `low` to `high`, both in `unit`; what lies outside counts as missing. A network sees
    (value - mean) / sd; without them the middle of the range and a quarter of it. `molar_mass` (g/mol) lets sites
    convert between mass and amount, such as mg/dl to mmol/l. A `category` is one of `values`.
    """

    kind: Literal["number", "category"] = "number"
    unit: Unit | None = None
    low: Measure | None = None
    high: Measure | None = None
    mean: Measure | None = None
    sd: Annotated[float, Field(gt=0, le=1e12)] | None = None
    molar_mass: Annotated[float, Field(gt=0, le=1e7)] | None = None
    values: Annotated[tuple[Value, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> Self:
        numbers = ("unit", "low", "high", "mean", "sd", "molar_mass")
        if self.kind == "category":
            if len({value.casefold() for value in self.values}) != len(self.values) or len(self.values) < 2:
                raise ValueError("a category names at least two values that differ, case aside")
            if given := [name for name in numbers if getattr(self, name) is not None]:
                raise ValueError(f"a category has no {', '.join(given)}")
        elif self.values:
            raise ValueError("a number has no values; use kind = category")
        elif self.low is None or self.high is None or self.low >= self.high:
            raise ValueError("a number needs low and high, the first below the second")
        return self

    @property
    def width(self) -> int:
        """Features of a network: one of a number or one for each value, and one that says that it is missing."""
        return 1 + (len(self.values) or 1)

    @property
    def middle(self) -> float:
        """What a network takes off a number."""
        assert self.low is not None and self.high is not None
        return (self.low + self.high) / 2 if self.mean is None else self.mean

    @property
    def spread(self) -> float:
        """What a network divides a number by."""
        assert self.low is not None and self.high is not None
        return (self.high - self.low) / 4 if self.sd is None else self.sd


def _sorted(columns: dict[str, ClinicalColumn]) -> dict[str, ClinicalColumn]:
    return dict(sorted(columns.items()))  # as canonical JSON has them, so that their order is one everywhere


Columns = Mapping[str, ClinicalColumn]  # by name, in the order of the names
ClinicalSpec = Annotated[dict[ColumnName, ClinicalColumn], Field(max_length=64), AfterValidator(_sorted)]
