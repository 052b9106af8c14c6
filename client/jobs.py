"""What the agent asks of the worker and what it hears back: JSON lines over one pipe.

Tensors never pass the pipe; both name files in the spool folder.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from shared.address import Stage
from shared.errors import WireCode
from shared.fields import Digest
from shared.metrics import Score
from shared.rehearsal import LONGEST_S, Findings
from shared.section import Section
from shared.study import Study
from shared.survey import Survey
from shared.update import Tensors
from shared.wire import Count, Counts, Device, Seconds, Software, Work

UPDATE_FILE = "update.safetensors"
STATE_FILE = "state.safetensors"

HeldOut = Literal["validation", "test"]
Split = Literal["train", HeldOut]


class ProbeJob(Section):
    """Find the device that the configuration asks for, compute on it, and get warm."""

    job: Literal["probe"] = "probe"


class OpenJob(Section):
    """Index and decode the site's data for a study; check that the wheel's model fits the table."""

    job: Literal["open"] = "open"
    study: Study
    tensors: Tensors


class RoundJob(Section):
    """Score the incoming model on validation patients, train on it, write the update to `out`.

    `state` is what the site kept from the last round that counted, if its study keeps something; what it
    keeps of this round goes to `out`, too.
    """

    job: Literal["round"] = "round"
    study: Study
    round: int
    model: Path
    model_digest: Digest
    state: Path | None = None
    out: Path


class ScoreJob(Section):
    """Score a model on the patients of these splits; nothing is trained."""

    job: Literal["score"] = "score"
    study: Study
    model: Path
    model_digest: Digest
    splits: tuple[HeldOut, ...]
    state: Path | None = None


class RehearseJob(Section):
    """Do once what a round would ask, on the site's real images; its update goes to `out`, and counts for nothing."""

    job: Literal["rehearse"] = "rehearse"
    study: Study
    tensors: Tensors
    model: Path
    model_digest: Digest
    out: Path


class CloseJob(Section):
    """Let a study's data and model go; the one job without an event."""

    job: Literal["close"] = "close"
    study_digest: Digest


class Place(Section):
    """Where the worker computes, and why there; `fell_back` means that auto found no GPU.

    The reason is for the site's own console.
    """

    device: Device
    reason: str
    fell_back: bool
    threads: Count


class Began(Section):
    """The worker's first word: SHA-256 (hex) over the code that it runs (`client/software.py`)."""

    event: Literal["began"] = "began"
    code: Digest


class ProbeDone(Section):
    """The worker is warm; its device has computed, and has so much memory free, in bytes, of the whole."""

    event: Literal["probed"] = "probed"
    place: Place
    free_bytes: Count = 0
    whole_bytes: Count = 0


class OpenDone(Section):
    """The data are ready.

    For the site's own console: `absent_classes` are those of which nobody is there to train on, `unknown_labels` how
    many images have a label that the study does not know, if those are many.
    """

    event: Literal["opened"] = "opened"
    place: Place
    patients: dict[Split, Count]
    examples: dict[Split, Count]
    software: Software
    absent_classes: tuple[str, ...] = ()
    unknown_labels: Count = 0


class Drawn(Section):
    """Whom the steps of a round drew: for the site's own policy, nothing of it leaves.

    `patients` are different ones of all steps; of whole steps `step_images` and `step_patients` are the fewest.
    """

    patients: Count = 0
    step_images: Count = 0
    step_patients: Count = 0


class RoundDone(Section):
    """The work is finished; a `RoundJob` has left its packed update in its folder, as `UPDATE_FILE`."""

    event: Literal["done"] = "done"
    counts: Counts
    scores: tuple[Score, ...]
    seconds: Seconds
    drawn: Drawn = Drawn()


class RehearseDone(Section):
    """How far a rehearsal came.

    `worked` is what a round's work would have reported, None if the work did not come to its end; `work_s`
    how long that of a whole round takes, in seconds. `survey` counts the images. `said` is for the site's own console.
    """

    event: Literal["rehearsed"] = "rehearsed"
    findings: Findings
    worked: RoundDone | None = None
    survey: Survey | None = None
    work_s: Annotated[float, Field(ge=0, le=LONGEST_S)] | None = None
    said: Annotated[str, Field(max_length=1000)] | None = None


class Progress(Section):
    """A sign of life during training: how many steps are done, and of how many, if that is known."""

    event: Literal["progress"] = "progress"
    steps: Count
    planned: Count | None = None


class Failed(Section):
    """The job failed in a way the worker survived."""

    event: Literal["failed"] = "failed"
    code: WireCode


Question = ProbeJob | OpenJob | RoundJob | ScoreJob | RehearseJob
Job = Question | CloseJob
Ending = OpenDone | RoundDone | RehearseDone | Failed
Event = Began | ProbeDone | Progress | Ending

_JOBS: TypeAdapter[Any] = TypeAdapter(Annotated[Job, Field(discriminator="job")])
_EVENTS: TypeAdapter[Any] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


_ENDS: dict[type[Question], type[Ending]] = {
    OpenJob: OpenDone,
    RoundJob: RoundDone,
    ScoreJob: RoundDone,
    RehearseJob: RehearseDone,
}


def may_end(job: Question, event: Ending) -> bool:
    """Whether this event is an end of this job."""
    return isinstance(event, Failed) or _ENDS.get(type(job)) is type(event)


def job_for(message: Work, study: Study, *, model: Path, state: Path | None, out: Path) -> RoundJob | ScoreJob:
    """What a piece of work asks of the worker; `out` is where it may write."""
    digest, number = message.model_digest, message.address.round
    if message.address.stage is Stage.TRAIN:
        return RoundJob(study=study, round=number, model=model, model_digest=digest, state=state, out=out)
    splits: tuple[HeldOut, ...] = ("validation",) if message.address.stage is Stage.VALIDATE else ("validation", "test")
    return ScoreJob(study=study, model=model, model_digest=digest, splits=splits, state=state)


def to_line(message: Job | Event) -> bytes:
    """One JSON line."""
    return message.model_dump_json().encode() + b"\n"


def read_job(line: bytes) -> Job:
    """A job from its line."""
    return _JOBS.validate_json(line)  # type: ignore[no-any-return]


def read_event(line: bytes) -> Event:
    """An event from its line."""
    return _EVENTS.validate_json(line)  # type: ignore[no-any-return]
