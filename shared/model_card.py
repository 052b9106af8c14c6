"""The card of a model: what a released model is, where it comes from, how good it is, and what it is not for.

The types of `model-card.json`. A part of it is read by machines that use the model: `inputs` says how to build the
network and what it takes, `calibration` and `operating` what its output means. The rest is for people, and is said in
the card and nowhere else, so that page, bundle and JSON cannot differ. What goes in is decided by
`server/export/`; whether a card may be believed, by `shared/model_package.py`.

A figure that is not known says why. Counts of patients below `flow.smallest_cell` are hidden (`shared/small_cells.py`).
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.calibration import Scaling
from shared.clinical import ClinicalSpec
from shared.fields import Digest
from shared.images import ImageSpec
from shared.networks.spec import ModelSpec
from shared.section import Section
from shared.study import TaskSpec

RESEARCH_ONLY = "research use only, not for diagnosis"
Words = Annotated[str, Field(max_length=4000)]
Word = Annotated[str, Field(max_length=200)]
Split = Literal["train", "validation", "test"]
Count = Annotated[int, Field(ge=0, le=2**40)]


class Figure(Section):
    """A figure with the ends of its 95 % interval; `why` says what is missing of them, and why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: Words | None = None


class Inputs(Section):
    """What a machine needs to build the network and to feed it.

    `clinical` are the columns that the network takes beside the image: their units, ranges, and what it takes off a
    value and divides it by.
    """

    task: TaskSpec
    images: ImageSpec
    model: ModelSpec
    clinical: ClinicalSpec = Field(default_factory=dict)


class Weights(Section):
    """The model file, and which model of the study it is.

    `study_sha256` is the digest under which the study's journal knows it; another one than `sha256` only where the
    study's model carries what no network needs (control variates).
    """

    sha256: Digest
    bytes: Count
    tensors: Count
    parameters: Count
    study_sha256: Digest
    rounds: Count
    chosen: Words


class Origin(Section):
    """The study that it comes from, and by what that can be checked."""

    study: Word
    federation: Word
    description: Words
    kind: Word
    study_sha256: Digest
    start_sha256: Digest
    journal_entries: Count
    journal_head: Digest
    seed: Count
    rounds: Count
    training: Words | None
    began: Word | None
    ended: Word | None
    software: dict[Word, Word]


class Counted(Section):
    """Patients or images by site, and in all; None where hidden."""

    by_site: dict[Word, Count | None]
    total: Count | None


class Found(Section):
    """What one site told of its images before the study: found = set aside, by reason, + used; None where withheld.

    `vendors` are patients by the maker of the machine, `missing` patients without a value by clinical column.
    """

    site: Word
    found: Count | None
    set_aside: dict[Word, Count | None]
    used: Count | None
    vendors: dict[Word, Count | None]
    missing: dict[Word, Count | None]


class Flow(Section):
    """Exams on their way into the study: how many were found, set aside and used.

    Attributes:
        found: of each site that was surveyed (`shared/survey.py`) and told; `surveyed` is the day of the survey.
        patients, images: used, by split; empty where `why` says so.
        smallest_cell: the least count that is told; see `shared/small_cells.py`.
        unknown: what a flow diagram has and this one has not, and why.
    """

    sites: tuple[Word, ...]
    patients: dict[Split, Counted]
    images: dict[Split, Counted]
    smallest_cell: Count
    surveyed: Word | None = None
    found: tuple[Found, ...] = ()
    why: Words | None = None
    unknown: dict[Word, Words] = Field(default_factory=dict)


class StructurePerformance(Section):
    """The masks of one structure on the patients of a split.

    `patients` are those in whom it was measured, `excluded` those in whom neither mask nor model shows it. `hd95` is a
    share of the image's diagonal.
    """

    name: Word
    patients: Count | None
    excluded: Count | None
    dice: Figure
    hd95: Figure


class SitePerformance(Section):
    """The model at one site: on the site's own patients of a split, as the site told it.

    `auroc` is of a model that classifies, `dice` and `structures` of one that finds masks, `ssim` of one that draws.
    """

    site: Word
    split: Split
    patients: Count | None
    auroc: Figure | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    dice: Figure | None = None
    ssim: Figure | None = None
    structures: tuple[StructurePerformance, ...] = ()


class Performance(Section):
    """The model on test patients, who had no part in its making.

    `figures` by name, `classes` the AUROC of each class where there are several; `structures` of a model of masks.
    """

    sentence: Words
    sites: tuple[Word, ...]
    patients: Count | None
    how: Literal["pooled", "mean"]
    figures: dict[Word, Figure]
    classes: dict[Word, float | None] = Field(default_factory=dict)
    structures: tuple[StructurePerformance, ...] = ()
    by_site: tuple[SitePerformance, ...] = ()
    between_sites: Words = ""


class SubgroupAtSite(Section):
    """A subgroup at one site; without patients it is withheld there."""

    site: Word
    patients: Count | None
    auroc: Figure | None = None
    dice: Figure | None = None


class SubgroupPerformance(Section):
    """The model on the test patients with one value of a trait.

    `pooled` figures are of the added statistics of all sites that told the subgroup, a `mean` is of their own figures
    because one releases none; `patients` are of these sites. A site where there is nobody is not in `by_site`. `auroc`
    is of a model that classifies, `dice` of one that finds masks, the mean of its structures.
    """

    trait: Word
    value: Word
    patients: Count | None
    how: Literal["pooled", "mean"]
    auroc: Figure | None = None
    dice: Figure | None = None
    by_site: tuple[SubgroupAtSite, ...]


class CalibrationBin(Section):
    """Test patients whose calibrated probability lay together."""

    patients: Count
    probability: float
    share: float


class ClassCalibration(Section):
    """One class: how it is scaled, and how that holds on test patients; of `slope` 1 is best, of the others 0."""

    name: Word
    scaling: Scaling
    slope: float | None = None
    offset: float | None = None
    error: float | None = None
    error_before: float | None = None
    bins: tuple[CalibrationBin, ...] = ()


class Calibration(Section):
    """How the model's output becomes a probability; `platt` was fitted on pooled validation patients."""

    kind: Literal["platt", "none"]
    patients: Count = 0
    classes: tuple[ClassCalibration, ...] = ()
    why: Words | None = None

    @property
    def scalings(self) -> tuple[Scaling, ...] | None:
        """One per class; None if the output is not calibrated."""
        return tuple(one.scaling for one in self.classes) if self.kind == "platt" else None

    @property
    def words(self) -> str:
        """Which calibration it is, for who reads one probability."""
        if self.kind == "none":
            return f"uncalibrated: {self.why}"
        return f"Platt scaling, fitted on {self.patients} pooled validation patients"


class AtCut(Section):
    """What a cut does to the test patients of one class.

    `cut` is a logit against the rest, None for the likeliest class; `probability` the calibrated one there.
    """

    name: Word
    cut: float | None
    probability: float | None
    sensitivity: Figure
    specificity: Figure


class Operating(Section):
    """When a patient is called positive.

    `rule`: `youden` and `specificity` cut where the pooled validation patients say; `half` at probability 0.5 as the
    network gives it; `likeliest` calls the likeliest class, of masks at each place. `at` is one per class, and none of
    masks or of a model that draws; `at_specificity` is by the specificity that validation patients were to have.
    """

    rule: Literal["youden", "specificity", "half", "likeliest"]
    words: Words
    at: tuple[AtCut, ...]
    at_specificity: dict[Word, tuple[AtCut, ...]] = Field(default_factory=dict)
    why: Words | None = None


class Item(Section):
    """One item of a reporting guideline that the study itself answers."""

    number: Word
    topic: Words
    answer: Words


class ModelCard(Section):
    """`model-card.json`."""

    format: Literal[1] = 1
    notice: Words = RESEARCH_ONLY
    made: Word
    by_letter: bool
    inputs: Inputs
    preprocessing: tuple[Words, ...]
    weights: Weights
    origin: Origin
    flow: Flow
    performance: Performance
    calibration: Calibration
    operating: Operating
    subgroups: tuple[SubgroupPerformance, ...] = ()
    no_subgroups: Words | None = None
    privacy: Words
    intended_use: Words
    limits: tuple[Words, ...]
    guidelines: dict[Word, tuple[Item, ...]] = Field(default_factory=dict)
