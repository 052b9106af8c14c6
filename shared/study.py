"""The study: what the coordinator asks every site to do, as one frozen model.

A study is written as TOML, parsed once, and travels as canonical JSON (RFC 8785) whose SHA-256 is
the study digest. Unknown keys are refused with the known ones listed. This module decides nothing
about how a study is run; it only says what may be asked and in which units.
"""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from shared.backbone import BackboneSpec, backbone_fault
from shared.buffering import study_fault
from shared.canonical import canonical, digest
from shared.clinical import ClinicalSpec
from shared.drawing_rules import drawing_fault, memorisation_fault
from shared.errors import ConfigError
from shared.fields import ClassName, Name
from shared.images import ImageSpec
from shared.networks.spec import ModelSpec
from shared.plain_text import PlainText
from shared.private_training import PrivacySpec, privacy_fault
from shared.schedule import RoundsSpec
from shared.section import Section, wrong_keys
from shared.selection import SelectionSpec, selection_fault
from shared.server_step import ServerSpec
from shared.subgroups import Trait, subgroups_fault
from shared.task_rules import (
    inputs_fault,
    metric_fault,
    mode_fault,
    network_fault,
    patch_fault,
    series_fault,
    training_fault,
    with_metric,
)
from shared.training import TrainingSpec
from shared.update import FloatDtype

LONGEST_STUDY = 1 << 20  # characters; the longest that means something names thousands of sites


class About(Section):
    """Who the study is."""

    name: Name
    kind: Literal["train", "evaluate"] = "train"
    description: Annotated[PlainText, Field(max_length=2000)] = ""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0


class TaskSpec(Section):
    """What is predicted.

    `binary` names the one positive class, `multiclass` every class (exactly one is true),
    `multilabel` every finding (any number may be true). Of `segmentation` the classes are structures: one
    (`binary`), or several that exclude each other (`multiclass`); `instances` counts their pieces, too.
    `generation` learns to draw images of its one class, and needs no labels; without a `[privacy]` that bounds what
    the model memorises (`shared/drawing_rules.py`) a study that trains must `accept_memorisation`.
    `subgroups` of the test patients are scored besides, by these traits (`shared/subgroups.py`).
    """

    kind: Literal["classification", "segmentation", "generation"] = "classification"
    mode: Literal["binary", "multiclass", "multilabel"] = "binary"
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=64)]
    instances: bool = False
    accept_memorisation: bool = False
    subgroups: tuple[Trait, ...] = ()

    @model_validator(mode="after")
    def _classes_fit_mode(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        if fault := mode_fault(self.kind, self.mode, len(self.classes)):
            raise ValueError(fault)
        if self.instances and self.kind != "segmentation":
            raise ValueError("task.instances counts pieces of masks: it goes with kind = segmentation")
        return self

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one of the classes."""
        return self.kind == "classification" and self.mode == "multiclass"

    @property
    def outputs(self) -> int:
        """Number of logits the model gives for one image, or for one place of it, where none of several is one more."""
        return len(self.classes) + (self.kind == "segmentation" and self.mode == "multiclass")


class AdmissionSpec(Section):
    """The server's rules for an update.

    `norm_factor` bounds the L2 norm by that many times the median admitted norm of the last three
    rounds.
    """

    norm_factor: Annotated[float, Field(gt=1, le=1e6)] = 10.0


class TransferSpec(Section):
    """How updates travel. `slot_bytes` in flight at once; None means max(2 updates, 256 MB).

    In bfloat16 an update, or the model, has half the bytes. Each site keeps what rounding took from its change, and
    adds it to its next one (`client/work/compression.py`); the server does so with the model (`server/rounding.py`).
    """

    slot_bytes: Annotated[int, Field(ge=1)] | None = None
    lease_s: Annotated[float, Field(ge=1, le=3600)] = 30.0
    update_dtype: FloatDtype = "float32"
    model_dtype: FloatDtype = "float32"


class Study(Section):
    """A whole study, as the coordinator writes it and the sites agree to it."""

    study: About
    task: TaskSpec
    images: ImageSpec = ImageSpec()
    clinical: ClinicalSpec = Field(default_factory=dict)
    model: ModelSpec = ModelSpec()
    backbone: BackboneSpec | None = None
    training: TrainingSpec | None = None
    privacy: PrivacySpec | None = None
    server: ServerSpec = ServerSpec()
    rounds: RoundsSpec = RoundsSpec()
    selection: SelectionSpec = SelectionSpec()
    admission: AdmissionSpec = AdmissionSpec()
    transfer: TransferSpec = TransferSpec()

    @model_validator(mode="before")
    @classmethod
    def _metric_of_task(cls, given: Any) -> Any:
        return with_metric(given)

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if self.study.kind == "train" and self.training is None:
            raise ValueError("a study of kind train needs a [training] section")
        task, name = self.task.kind, self.model.name
        fault = network_fault(task, name) or metric_fault(task, self.selection.metric)
        fault = fault or series_fault(name, self.images) or patch_fault(task, name, self.images)
        fault = fault or training_fault(task, self.training, clinical=bool(self.clinical))
        fault = fault or drawing_fault(self.task, self.images, clinical=bool(self.clinical), training=self.training)
        trains, count = self.study.kind == "train", self.rounds.count
        fault = fault or memorisation_fault(self.task, self.privacy, self.training, trains=trains, rounds=count)
        asked, private = self.task.subgroups, self.privacy is not None
        fault = fault or subgroups_fault(
            task, len(self.task.classes), asked=asked, private=private, columns=self.clinical
        )
        if fault := fault or inputs_fault(task, clinical=bool(self.clinical)):
            raise ValueError(fault)
        if self.study.kind == "evaluate" and self.model.start_sha256 is None:
            raise ValueError("a study of kind evaluate needs model.start_sha256, the model to score")
        if self.training is not None and self.training.algorithm == "fedbn":
            self._check_own_norms()
        if self.transfer.model_dtype != "float32" and self.model.start_sha256 is not None:
            raise ValueError("transfer.model_dtype rounds the start model, and model.start_sha256 pins it as it is")
        if self.rounds.sites and self.rounds.quorum > len(self.rounds.sites):
            raise ValueError("rounds.quorum is larger than the number of rounds.sites")
        if self.rounds.sites and (self.rounds.buffer or 0) > len(self.rounds.sites):
            raise ValueError("rounds.buffer is larger than the number of rounds.sites")
        return self

    @model_validator(mode="after")
    def _rounds_fit_training(self) -> Self:
        if self.training is not None and (self.training.seconds_per_round or 0) >= self.rounds.deadline_s:
            raise ValueError("training.seconds_per_round leaves no time before rounds.deadline_s")
        if self.rounds.late == "next" and self.keeps_state:
            raise ValueError("rounds.late = next does not go with what a site keeps between rounds: it would be stale")
        algorithm = self.training.algorithm if self.training else None
        if self.rounds.buffer and (fault := study_fault(algorithm, compares=self.selection.compares)):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        algorithm = self.training.algorithm if self.training else None
        sampled = self.rounds.sample is not None
        kind, named = self.study.kind, bool(self.rounds.sites)
        fault = selection_fault(self.selection, kind=kind, algorithm=algorithm, sampled=sampled, named=named)
        pinned, clinical = self.model.start_sha256 is not None, bool(self.clinical)
        fault = fault or backbone_fault(
            self.backbone, self.training, kind=kind, network=self.model.name, pinned=pinned, clinical=clinical
        )
        compares, mixes = self.selection.compares, self.model.norm == "batch" and not self.freezes
        if fault := fault or privacy_fault(self.privacy, self.training, kind=kind, mixes=mixes, compares=compares):
            raise ValueError(fault)
        return self

    def _check_own_norms(self) -> None:
        if self.model.norm == "none":
            raise ValueError("fedbn leaves the norm layers at the sites, and model.norm = none has no such layers")
        if self.model.start_sha256 is not None:
            raise ValueError("fedbn starts from the seed: a start model's norm layers would not reach the sites")

    @property
    def name(self) -> str:
        """The study's name, unique in its federation."""
        return self.study.name

    @property
    def keeps_state(self) -> bool:
        """Whether a site keeps something from one round to the next that it cannot go on without."""
        return self.training is not None and self.training.algorithm in ("fedbn", "scaffold")

    @property
    def keeps_residual(self) -> bool:
        """Whether a site keeps what rounding took from its last change; without it, it goes on all the same."""
        return self.study.kind == "train" and self.transfer.update_dtype != "float32"

    @property
    def freezes(self) -> bool:
        """Whether the backbone of its model neither changes nor travels in a round."""
        return self.backbone is not None and self.backbone.frozen

    @property
    def agreed_rounds(self) -> int:
        """The highest number of a round that trains; 0 if the study does not train."""
        return self.rounds.count if self.study.kind == "train" else 0

    @property
    def closing_number(self) -> int:
        """The number of the closing trip, after those of all rounds and validation trips, run or not."""
        return self.agreed_rounds + self.validation_trips + 1

    @property
    def validation_trips(self) -> int:
        """How many numbers after the rounds are for models to be scored on validation patients alone."""
        return int(self.selection.model == "best") + len(self.cross_sites)

    @property
    def cross_sites(self) -> tuple[str, ...]:
        """Sites whose own model is sent to all, in the order of their trips, which end the validation trips."""
        return tuple(sorted(self.rounds.sites)) if self.selection.cross_site else ()

    def canonical(self) -> bytes:
        """RFC 8785 bytes of the whole study, defaults included."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 (hex) of `canonical`."""
        return self._digest

    def __hash__(self) -> int:
        return hash(self._digest)  # a mapping, as the clinical columns are, has none

    @cached_property
    def _digest(self) -> str:  # a study is frozen, and asked for its digest with every message
        return digest(self.canonical())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """See pydantic's BaseModel; what changed in the copy changes its digest."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_digest", None)
        return copied


def parse_study(text: str) -> Study:
    """Read a study from TOML.

    Raises:
        ConfigError: the text is too long, not TOML, or a key or value is not allowed.
    """
    if len(text) > LONGEST_STUDY:
        raise ConfigError(
            f"The study file has {len(text):,} characters; at most {LONGEST_STUDY:,} are read.",
            remedy="Check that this is the study file.",
        )
    try:
        return Study.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The study file is not valid TOML: {error}", remedy="Correct the line named.") from None
    except RecursionError:
        raise ConfigError("The study file is nested too deeply.", remedy="Check that this is the study file.") from None
    except ValidationError as error:
        raise ConfigError(
            wrong_keys("study", Study, error), remedy="Correct the keys named; see docs/study.md."
        ) from None
