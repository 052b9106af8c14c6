"""Subgroups of the test patients, by sex, age band and maker of the machine: the only words that they have.

A study that classifies or finds masks may ask for them (`task.subgroups`), and its contract then names the traits. This
module decides:

1. the traits and their values are closed lists; `several` are patients of whom their images say different things,
   `unstated` those of whom nothing is said; a clinical column counts only if its words, or its unit, are known here;
2. of a subgroup a site tells its patients, the histogram of their scores or the sums of their Dice, and its own AUROC
   or Dice with its interval; or that it is withheld;
3. `covered` withholds a subgroup of fewer patients than the site's smallest cell, or with fewer of a class or not of
   it, or in whom a structure was measured, and as many of the next smallest ones as it takes until all patients less
   those told are nobody or no such cell.

Who is in which subgroup is left to `client/imaging/traits.py`, the door to `client/disclosure.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from shared.clinical import ClinicalColumn, Columns
from shared.section import Section
from shared.small_cells import hide

Statistics = Mapping[str, tuple[int, ...]]  # of a score, by name

Trait = Literal["sex", "age", "vendor"]
Vendor = Literal[
    "agfa",
    "canon",
    "carestream",
    "esaote",
    "fujifilm",
    "ge",
    "hologic",
    "konica_minolta",
    "mindray",
    "philips",
    "samsung",
    "shimadzu",
    "siemens",
    "united_imaging",
    "other",
    "unstated",
]
TRAITS: tuple[Trait, ...] = get_args(Trait)
UNSTATED, OTHER, SEVERAL = "unstated", "other", "several"
BANDS = ((0, "0-17"), (18, "18-39"), (40, "40-64"), (65, "65-79"), (80, "80+"))  # from so many years on
VALUES: dict[Trait, tuple[str, ...]] = {
    "sex": ("female", "male", OTHER, UNSTATED, SEVERAL),
    "age": (*(name for _, name in BANDS), UNSTATED, SEVERAL),
    "vendor": (*get_args(Vendor), SEVERAL),
}
SEXES = {  # by the word of a clinical column, case aside
    **dict.fromkeys(("f", "female", "w"), "female"),
    **dict.fromkeys(("m", "male"), "male"),
    **dict.fromkeys(("o", "other", "d"), OTHER),
    **dict.fromkeys(("u", "unknown", UNSTATED), UNSTATED),
}
AGE_UNITS = ("years", "months", "weeks", "days")  # of a clinical column; without a unit it is in years
FIGURES = ("auroc", "auroc_low", "auroc_high", "dice", "dice_low", "dice_high")
SUMS = ("measured", "excluded", "dice_millionths", "dice_square_millionths")  # of a score of masks
COUNTING = ("histogram", "measured")  # the statistic that counts patients, of a task that has subgroups
MOST_CLASSES = 6  # of a classification with subgroups: more histograms need not fit into an entry of a ledger


class Subgroup(Section):
    """The test patients of one site with one value of a trait, as a model ranks them.

    `patients` is None where the subgroup is withheld; then it says no more. `histogram` is as that of a score
    (`shared/classification.py`), or `sums` are some of a score of masks (`shared/segmentation.py`); both are empty
    where the site releases no statistics. `figures` are the site's own.
    """

    trait: Trait
    value: Annotated[str, Field(max_length=16)]
    patients: Annotated[int, Field(ge=0, le=2**40)] | None
    histogram: tuple[Annotated[int, Field(ge=0, le=2**40)], ...] = ()
    sums: dict[Annotated[str, Field(max_length=32)], tuple[Annotated[int, Field(ge=0, le=2**40)], ...]] = Field(
        default_factory=dict
    )
    figures: dict[Annotated[str, Field(max_length=16)], Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _of_the_lists(self) -> Self:
        if self.value not in VALUES[self.trait]:
            raise ValueError("a subgroup has a value of its trait's list")
        if not self.figures.keys() <= set(FIGURES):
            raise ValueError("a subgroup has an AUROC or a Dice and its interval, and no other figure")
        if self.sums and (self.histogram or self.sums.keys() != set(SUMS)):
            raise ValueError(f"a subgroup has a histogram, or the sums {', '.join(SUMS)}")
        if self.patients is None and (self.statistics or self.figures):
            raise ValueError("a subgroup that is withheld says no more")
        return self

    @classmethod
    def scored(
        cls, trait: Trait, value: str, *, patients: int, statistics: Statistics, figures: Mapping[str, float]
    ) -> "Subgroup":
        """What is told of a subgroup, of all that its patients' score says."""
        return cls(
            trait=trait,
            value=value,
            patients=patients,
            histogram=statistics.get("histogram", ()),
            sums={name: statistics[name] for name in SUMS if name in statistics},
            figures={name: figures[name] for name in FIGURES if name in figures},
        )

    @property
    def statistics(self) -> Statistics:
        """What adds over sites, by the names that a score has for it."""
        return {"histogram": self.histogram} if self.histogram else self.sums

    @property
    def withheld(self) -> "Subgroup":
        """That there is such a subgroup, and no more."""
        return Subgroup(trait=self.trait, value=self.value, patients=None)


def subgroups_fault(
    kind: str, classes: int, *, asked: Sequence[str], private: bool, columns: Columns | None = None
) -> str | None:
    """Why a study cannot ask for subgroups, in words; None if it can. Its `columns` come before what images say."""
    if not asked:
        return None
    if kind == "generation" or (kind == "classification" and classes > MOST_CLASSES):
        return f"task.subgroups goes with classification of at most {MOST_CLASSES} classes, and with segmentation"
    if len(set(asked)) != len(asked):
        return "task.subgroups names a trait twice"
    if private:
        return "task.subgroups tells of few patients at a time, and goes with no [privacy]"
    return next((fault for trait in asked if (fault := _column_fault(trait, (columns or {}).get(trait)))), None)


def _column_fault(trait: str, column: ClinicalColumn | None) -> str | None:
    """Why nobody's subgroup can be read in a column, in words."""
    if column is None:
        return None
    if trait == "sex" and not (column.values and {value.casefold() for value in column.values} <= SEXES.keys()):
        return f"task.subgroups reads clinical.sex: it must be a category, of the values {', '.join(SEXES)} alone"
    if trait == "age" and (column.values or (column.unit or "years").casefold() not in AGE_UNITS):
        return f"task.subgroups reads clinical.age: it must be a number, in {', '.join(AGE_UNITS)} or without a unit"
    return None


def covered(
    subgroups: Iterable[Subgroup], *, patients: int, counting: Sequence[int], row: int, smallest: int
) -> tuple[Subgroup, ...]:
    """The same without what is told of too few patients, by rule 3.

    Args:
        subgroups: those of one score.
        patients, counting: of all its patients, how many they are and the statistic that counts them (`COUNTING`);
            without that nothing is known of the sides of a class.
        row: so many of its values are the patients of one truth, or those in whom one structure was measured.
        smallest: the least number of patients that is told; 1 withholds nothing.
    """
    given = tuple(subgroups)
    if smallest <= 1:
        return given
    whole = _counts(patients, counting, row)
    hidden = [one for trait in TRAITS for one in _hidden([g for g in given if g.trait == trait], whole, row, smallest)]
    return tuple(one.withheld if one in hidden else one for one in given)


def _hidden(group: Sequence[Subgroup], whole: Sequence[int], row: int, smallest: int) -> list[Subgroup]:
    """Of one trait; who is in none of those told, because they are withheld already or hidden here, counts as one."""
    counts = {
        one.value: _counts(one.patients, counts_in(one.statistics), row) for one in group if one.patients is not None
    }
    known = sorted((one for one in group if one.value in counts), key=lambda one: (one.patients or 0, one.value))
    few = [one for one in known if min(counts[one.value]) < smallest]

    def safe(hidden: list[Subgroup]) -> bool:
        told = [counts[one.value] for one in known if one not in hidden]
        left: list[int] = [total - sum(parts) for total, *parts in zip(whole, *told, strict=False)]
        return left[0] == 0 or min(left) >= smallest

    return hide(few, [one for one in known if one not in few], safe=safe)


def counts_in(statistics: Statistics) -> tuple[int, ...]:
    """The statistic that counts patients, or nothing."""
    return next((statistics[name] for name in COUNTING if name in statistics), ())


def _counts(patients: int, counted: Sequence[int], row: int) -> list[int]:
    """How many they are, and how many on each side of each class, or in whom each structure was measured."""
    return [patients, *(sum(counted[start : start + row]) for start in range(0, len(counted), row))]
