"""What a site may tell of its images before a study: counts, and no count of a few patients.

A survey rides on a rehearsal: its question asks for it, its contract names the classes and columns that may be counted.
This module decides the only form that it has:

1. the words of every table are closed: the study's classes and columns, and the lists below;
2. a cell is a number, or None where it is withheld;
3. `covered` withholds a cell of fewer patients than the site's smallest cell, or that all but so few are in, and as
   many of the next smallest ones as it takes until those withheld together are so many: else a sum would tell them.
   Intensities, sizes and spacings are told only of as many training patients, each of whom counts alike. A split
   without anybody is told: it is no trait of anyone;
4. a split is told whole or not at all: neither its total nor another class once a class is withheld, for the total of
   a study with one class less would tell that class. Where a split is withheld, so are a maker, `found` and `used`,
   from which the total of all splits would follow.

Counting is left to `client/work/surveying.py`, the door to `client/disclosure.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator

from shared.clinical import ColumnName
from shared.fields import ClassName
from shared.reasons import Reason
from shared.section import Section
from shared.small_cells import hide
from shared.study import Study
from shared.subgroups import Vendor

Name = TypeVar("Name", bound=str)
NEGATIVE = "negative"  # who has none of the classes
PERCENTILES = (5, 50, 95)  # of pixels, which `intensity` tells and `ImageSpec.landmarks` names the places of
Split = Literal["train", "validation", "test"]
Cell = Annotated[int, Field(ge=0, le=2**40)] | None
Axis = Literal["slices", "rows", "columns"]
AXES: tuple[Axis, ...] = ("slices", "rows", "columns")
Size = Annotated[int, Field(ge=1, le=2**20)] | None
Millimetres = Annotated[float, Field(gt=0, le=1000, multiple_of=0.01)] | None
Share = Annotated[float, Field(ge=0, le=1, multiple_of=0.01)]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
UNTOLD = frozenset({Reason.WITHDRAWN, Reason.NOT_AGREED})  # of so few that they count under `other`
Why = Reason | Literal["other"]
WHY: tuple[Why, ...] = (*(reason for reason in Reason if reason not in UNTOLD), "other")


class SurveyedSplit(Section):
    """One split: its patients, and those of each class, who may be in several."""

    patients: Cell
    classes: Annotated[dict[ClassName, Cell], Field(max_length=65)]


class Survey(Section):
    """What one site has for a study.

    Attributes:
        found, used: images, not patients.
        set_aside: images that are not used, by reason; those of who has withdrawn count under `other`.
        splits: the patients whose images are used.
        vendors: patients by the maker of the machine.
        missing: by clinical column of the study, patients without a value.
        intensity: percentiles 5, 50 and 95 of the training images' pixels above black, as many values of each patient,
            0 black to 1 the end of their window, to two decimals; None where it is withheld or there is none.
        size_px, spacing_mm: by axis, percentiles 5, 50 and 95 of the training patients, as the images were made: pixels
            or slices, and from one to the next, of volumes along the patient's axes however they were scanned; a
            patient with several images has the middle one's. None where fewer than the smallest cell have so much or
            less, or so much or more; no axis where no image says anything.
    """

    found: Cell
    used: Cell
    set_aside: dict[Why, Cell]
    splits: Annotated[dict[Split, SurveyedSplit], Field(min_length=3)]
    vendors: dict[Vendor, Cell]
    missing: Annotated[dict[ColumnName, Cell], Field(max_length=64)]
    intensity: tuple[Share, Share, Share] | None = None
    size_px: dict[Axis, tuple[Size, Size, Size]] = Field(default_factory=dict)
    spacing_mm: dict[Axis, tuple[Millimetres, Millimetres, Millimetres]] = Field(default_factory=dict)

    @field_validator("set_aside")
    @classmethod
    def _untold(cls, cells: dict[Why, Cell]) -> dict[Why, Cell]:
        if not cells.keys() <= set(WHY):
            raise ValueError("a survey has no word for who has withdrawn")
        return cells


class Surveyable(Section):
    """What a survey may count for a study: these classes and columns, beside the closed lists."""

    classes: tuple[ClassName, ...]
    columns: tuple[ColumnName, ...]

    def fault(self, survey: Survey) -> str | None:
        """What of a survey was not agreed, in words; None if all was."""
        if any(not split.classes.keys() <= set(self.classes) for split in survey.splits.values()):
            return "a survey counts another class than the study's"
        if not survey.missing.keys() <= set(self.columns):
            return "a survey counts another column than the study's"
        return None


def surveyable(study: Study) -> Surveyable:
    """What follows from a study."""
    task = study.task
    names = task.classes if task.exclusive else (*task.classes, NEGATIVE)
    return Surveyable(classes=names, columns=tuple(study.clinical))


def covered(survey: Survey, *, smallest: int) -> Survey:
    """The same survey without what it would tell of fewer than `smallest` patients; 1 withholds nothing."""
    if smallest == 1:
        return survey
    patients = sum(split.patients or 0 for split in survey.splits.values())
    hidden, enough = _hidden_splits(survey.splits, smallest), (survey.splits["train"].patients or 0) >= smallest
    aside = sum(cell or 0 for cell in survey.set_aside.values())
    vendors = {name: _side(cell, patients, smallest) for name, cell in survey.vendors.items()}
    return Survey(
        found=_one(survey.found, smallest) if not hidden and not 0 < aside < smallest else None,
        used=_one(survey.used, smallest) if not hidden else None,
        set_aside=_apart(survey.set_aside, _told(survey.set_aside, smallest), smallest),
        splits={name: _silent(part) if name in hidden else part for name, part in survey.splits.items()},
        vendors=_apart(survey.vendors, vendors, smallest, one=bool(hidden)),
        missing={name: _side(cell, patients, smallest) for name, cell in survey.missing.items()},
        intensity=survey.intensity if enough else None,
        size_px=survey.size_px if enough else {},
        spacing_mm=survey.spacing_mm if enough else {},
    )


def cells_of(survey: Survey) -> Iterator[Cell]:
    """Every cell."""
    yield from (survey.found, survey.used)
    yield from (*survey.set_aside.values(), *survey.vendors.values(), *survey.missing.values())
    for split in survey.splits.values():
        yield from (split.patients, *split.classes.values())


def _hidden_splits(splits: Mapping[Split, SurveyedSplit], smallest: int) -> set[Split]:
    totals: dict[Split, Cell] = {name: part.patients for name, part in splits.items()}
    told: dict[Split, Cell] = {
        name: None if _is_small(part, smallest) else totals[name] for name, part in splits.items()
    }
    return {name for name, cell in _apart(totals, told, smallest).items() if cell is None}


def _is_small(part: SurveyedSplit, smallest: int) -> bool:
    """Whether a split has too few patients, or too few on a side of one of its classes."""
    whole = part.patients
    if not whole:
        return whole is None
    return whole < smallest or any(_side(cell, whole, smallest) is None for cell in part.classes.values())


def _silent(part: SurveyedSplit) -> SurveyedSplit:
    return SurveyedSplit(patients=None, classes=dict.fromkeys(part.classes))


def _told(cells: Mapping[Name, Cell], smallest: int) -> dict[Name, Cell]:
    """Cells that are no traits: nobody in one is told."""
    return {name: cell if cell == 0 else _one(cell, smallest) for name, cell in cells.items()}


def _apart(
    cells: Mapping[Name, Cell], told: Mapping[Name, Cell], smallest: int, *, one: bool = False
) -> dict[Name, Cell]:
    """The parts of a whole without those that the whole would tell of those withheld; at least `one` withheld."""
    few = [name for name, cell in told.items() if cell is None]
    others = sorted((name for name in told if name not in few), key=lambda name: cells[name] or 0) if few or one else []
    hidden = hide(few, others, safe=lambda names: sum(cells[name] or 0 for name in names) >= smallest)
    return {name: None if name in hidden else cell for name, cell in told.items()}


def _side(cell: Cell, whole: int, smallest: int) -> Cell:
    """A cell of which enough are, and enough are not."""
    return None if cell is None or min(cell, whole - cell) < smallest else cell


def _one(cell: Cell, smallest: int) -> Cell:
    return None if cell is None or cell < smallest else cell
