"""The worker's part of a rehearsal: one step of a round on the site's real images, and how long a round takes.

What is done is a round's own work (`client/work/local_work.py`) with the study's steps cut down to one and its
validation patients to some; on a network of its own, so that no study that is open here is touched. A
first pass shows whether it goes. It is slower than a round will be, because caches and kernels are cold: a
second pass of a few steps takes the times, unless the first one was very long. From them

    a round = scoring, for all validation patients + one step x the steps of a round + the rest

Test patients are never scored. The weights are those that the study's seed draws, not those that came: under a
model of the coordinator's making a code such as `not_finite` could be made to tell how bright an image is.
What may leave of this is decided by `client/rehearse.py`.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean
from time import perf_counter

import numpy as np

from client.imaging.examples import Examples, SiteData
from client.imaging.reasons import Reason
from client.jobs import UPDATE_FILE, Place, RehearseDone, RehearseJob, RoundDone
from client.work.device import ResolvedDevice, settle
from client.work.failure import code_of
from client.work.local_work import LocalWork, Worked, free_memory
from client.work.networks import start_network
from client.work.surveying import survey_of
from client.work.train import planned_steps, smallest_batch
from shared.errors import WardroundError
from shared.methods import travelling
from shared.metrics import Integers
from shared.rehearsal import LONGEST_S, Check, Code, code_for, fixes, told
from shared.study import Study
from shared.survey import Survey
from shared.update import pack

DRAWN_FILE = "drawn.safetensors"
SCORED = 128  # validation images, at most
STEPS = (2, 8)  # measured in the second pass, as many as fit into `MEASURED_S`
MEASURED_S = 10.0
LONG_S = 60.0  # a first pass that took longer is not followed by a second


@dataclass
class Rehearsing:
    """The parts of a site that a rehearsal works with.

    Args:
        site: its name.
        place: finds where to compute, and may fail.
        device: the same, for torch.
        data: reads and splits the images of a study, and may fail.
        smallest_cell: patients of whom a survey's intensities are at least.
    """

    site: str
    place: Callable[[], Place]
    device: Callable[[], ResolvedDevice]
    data: Callable[[Study], SiteData]
    smallest_cell: int

    def do(self, job: RehearseJob) -> RehearseDone:
        """Go through a round's work as far as it goes; what fails is a finding, and ends it."""
        found: dict[Check, Code] = {}
        try:
            return self._go_through(job, found)
        except Exception as error:  # its text goes to the site's own log
            traceback.print_exc()
            found |= told(_code_of(error))
            words = f"{error.what} {error.remedy}" if isinstance(error, WardroundError) else None
            return RehearseDone(findings=found, said=words and words[:1000])
        finally:
            free_memory()

    def _go_through(self, job: RehearseJob, found: dict[Check, Code]) -> RehearseDone:
        place = self.place()
        found[Check.DEVICE] = Code.FELL_BACK_TO_CPU if place.fell_back else Code.PASS
        data = self.data(job.study)
        found[Check.IMAGES] = images_code(data, job.study)
        if fixes(found):
            return RehearseDone(findings=found, survey=self._survey(data, job.study))
        trial = Trial(job, site=self.site, data=data, device=self.device())
        worked, work_s = trial.run()
        found[Check.VERSION] = found[Check.MEMORY] = Code.PASS
        found[Check.WORK] = Code.NO_STEP if trial.planned == 0 and _means_to_train(job.study) else Code.PASS
        found[Check.DISK] = Code.PASS
        done = RoundDone(counts=worked.counts, scores=worked.scores, seconds=worked.seconds)
        counts = self._survey(data, job.study)
        return RehearseDone(findings=found, worked=done, survey=counts, work_s=min(work_s, LONGEST_S))

    def _survey(self, data: SiteData, study: Study) -> Survey:
        return survey_of(data, study, smallest=self.smallest_cell)


class Trial:
    """One step of a round, and the times of a few.

    Args:
        job: what is asked.
        site: the site's name.
        data: its images.
        device: where to compute.

    Attributes:
        planned: steps of a whole round here; None where the clock decides.
    """

    def __init__(self, job: RehearseJob, *, site: str, data: SiteData, device: ResolvedDevice) -> None:
        self._job, self._site, self._device = job, site, device
        network, training = start_network(job.study), job.study.training
        smallest = smallest_batch(network)
        self._model = job.out / DRAWN_FILE
        self._model.write_bytes(pack(travelling(network, job.study)))
        self.planned = planned_steps(len(data.train), training, smallest=smallest) if self._trains and training else 0
        self._data = replace(data, validation=some(data.validation), test=some(data.test, most=0))
        self._held_out = len(data.validation) + (0 if self._trains else len(data.test))

    @property
    def _trains(self) -> bool:
        return self._job.study.study.kind == "train"

    def run(self) -> tuple[Worked, float]:
        """What the first pass made, its update in the job's folder; and the seconds of a whole round."""
        worked, first = self._pass(steps=1)
        if worked.update is not None:
            (self._job.out / UPDATE_FILE).write_bytes(worked.update)
        if first.total_s > LONG_S:
            return worked, self._of_a_round(first)
        fitting = int(MEASURED_S / max(first.step_s, 0.001))
        return worked, self._of_a_round(self._pass(steps=min(max(fitting, STEPS[0]), STEPS[1]))[1])

    def _pass(self, *, steps: int) -> tuple[Worked, "Times"]:
        study = self._job.study
        short = shortened(study, steps=steps if self.planned is None else min(steps, self.planned))
        work = LocalWork(short, site=self._site, data=self._data, device=self._device)
        watch = Watch(self._device)
        if not self._trains:
            watch.begin()
            return self._scored(work), watch.times(score_s=None)
        work.check_tensors(self._job.tensors)
        watch.begin()
        worked = work.train(self._model, model_digest=self._job.model_digest, number=1, on_step=watch.step)
        return worked, watch.times(score_s=worked.seconds.get("score", 0.0))

    def _scored(self, work: LocalWork) -> Worked:
        """The validation patients' scores; without any, the model is at least loaded."""
        work.check_tensors(self._job.tensors)
        return work.score(self._model, model_digest=self._job.model_digest)

    def _of_a_round(self, times: "Times") -> float:
        scale = self._held_out / max(len(self._data.validation), 1)
        training = self._job.study.training
        if self.planned is None and training is not None and training.seconds_per_round is not None:
            return times.score_s * scale + max(times.step_s, training.seconds_per_round) + times.rest_s
        return times.score_s * scale + times.step_s * (self.planned or 0) + times.rest_s


@dataclass(frozen=True)
class Times:
    """Seconds of one pass: scoring, one step, and everything else."""

    total_s: float
    score_s: float
    step_s: float
    rest_s: float


@dataclass
class Watch:
    """Looks at the clock after each step, when the device has done it."""

    device: ResolvedDevice
    _marks: list[float] = field(default_factory=list)
    _began: float = 0.0

    def begin(self) -> None:
        """The pass begins."""
        self._began = perf_counter()

    def step(self, steps: int, planned: int | None) -> None:
        """Another step was taken."""
        settle(self.device)
        self._marks.append(perf_counter())

    def times(self, *, score_s: float | None) -> Times:
        """The pass is over; `score_s` of it were scoring (None: all of it).

        The first of several steps is not counted: its beginning is not known. A single one is all that
        was not scoring.
        """
        total = perf_counter() - self._began
        if score_s is None:
            return Times(total, total, 0.0, 0.0)
        rest = max(total - score_s, 0.0)
        if not self._marks:
            return Times(total, score_s, 0.0, rest)
        if len(self._marks) == 1:
            return Times(total, score_s, rest, 0.0)
        step = fmean(after - before for before, after in pairwise(self._marks))
        return Times(total, score_s, step, max(rest - step * len(self._marks), 0.0))


def shortened(study: Study, *, steps: int) -> Study:
    """The same study with so many steps in a round; one that does not train stays as it is."""
    if study.training is None:
        return study
    length = {"epochs_per_round": None, "seconds_per_round": None, "steps_per_round": steps}
    return study.model_copy(update={"training": study.training.model_copy(update=length)})


def some(examples: Examples, *, most: int = SCORED) -> Examples:
    """The first images of a split, their patients numbered anew."""
    patients = np.unique(examples.patients[:most], return_inverse=True)[1].astype(np.int64)
    known = None if examples.clinical is None else examples.clinical[:most]
    masks = None if examples.masks is None else examples.masks[:most]
    return Examples(examples.images[:most], examples.labels[:most], patients, clinical=known, masks=masks)


def images_code(data: SiteData, study: Study) -> Code:
    """What is to be said of a site's images; the gravest if it is more than one thing."""
    trains, labels = study.study.kind == "train", data.train.labels
    if not data.counts.used:
        return Code.NONE_USABLE
    if trains and not len(labels):
        return Code.NO_TRAINING_PATIENTS
    if trains and _alike(labels, study.task.kind):
        return Code.ONE_CLASS
    if not len(data.validation):
        return Code.NO_VALIDATION_PATIENTS
    broken = {Reason.UNREADABLE, Reason.CODEC_MISSING} & data.counts.set_aside.keys()
    return Code.SOME_UNREADABLE if broken else Code.PASS


def _alike(labels: Integers, kind: str) -> bool:
    """Whether nothing tells the training images apart; of masks, whether none shows a structure."""
    if kind == "classification":
        return bool((labels == labels[0]).all())
    return kind == "segmentation" and not labels.any()


def _means_to_train(study: Study) -> bool:
    return study.study.kind == "train" and study.training is not None and study.training.steps_per_round != 0


def _code_of(error: Exception) -> Code:
    if isinstance(error, PermissionError):
        return Code.NOT_WRITABLE
    return code_for(code_of(error))
