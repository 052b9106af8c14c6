"""What the site reaches alone: the study's own rounds on its own images, by its own worker, with nobody else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from client.checks.grounds import Grounds
from client.checks.work import a_worker, ask, written_model
from client.jobs import STATE_FILE, UPDATE_FILE, Event, Failed, RoundDone, RoundJob, ScoreJob
from client.scratch import scratch
from client.worker_process import WorkerProcess
from shared.errors import TEMPLATES, ResourceError
from shared.preflight import Finding, passed, warn
from shared.study import Study
from shared.update import Array, PackedFile

LIMIT_S = 7 * 86_400.0


def look_at_baseline(grounds: Grounds) -> Finding:
    """Train as many rounds as the study has, alone and without noise, and score on the site's validation patients."""
    study = grounds.asked.model_copy(update={"privacy": None})
    if study.training is None:
        return warn("The study trains nothing, so that there is nothing to train alone.", "Leave --baseline out.")
    with scratch(grounds.folder) as out, a_worker(grounds.folder) as worker:
        done = _trained_alone(worker, study, grounds.start, out)
    rounds = study.rounds.count
    if not done.scores:
        return warn(
            f"Trained here alone for {rounds} rounds; no patient is for validation.", "Raise data.validation_fraction."
        )
    score = done.scores[0]
    figures = ", ".join(f"{name} {value:.3f}" for name, value in sorted(score.figures.items()))
    return passed(
        f"Trained here alone for {rounds} rounds, on {score.patients} validation patients: {figures}.",
        patients=score.patients,
        **score.figures,
    )


def _trained_alone(worker: WorkerProcess, study: Study, model: dict[str, Array], out: Path) -> RoundDone:
    """The score of what the study's rounds make of a model.

    Raises:
        ResourceError: the worker could not do it.
    """
    state = None
    for number in range(1, study.rounds.count + 1):
        place = out / str(number)
        place.mkdir()
        incoming, name = written_model(model, place)
        job = RoundJob(study=study, round=number, model=incoming, model_digest=name, state=state, out=place)
        _done(ask(worker, job, limit_s=LIMIT_S))
        model = _moved(model, dict(PackedFile(place / UPDATE_FILE).items()))
        state = place / STATE_FILE if (place / STATE_FILE).is_file() else None
    final, name = written_model(model, out)
    scoring = ScoreJob(study=study, model=final, model_digest=name, state=state, splits=("validation",))
    return _done(ask(worker, scoring, limit_s=LIMIT_S))


def _moved(model: Mapping[str, Array], change: Mapping[str, Array]) -> dict[str, Array]:
    """The model after a change (`client/work/change.py`): floating-point values are added, whole numbers replaced."""
    return {
        name: np.asarray(value + change[name]) if value.dtype.kind == "f" else change[name]
        for name, value in model.items()
    }


def _done(event: Event) -> RoundDone:
    if isinstance(event, RoundDone):
        return event
    what = TEMPLATES[event.code] if isinstance(event, Failed) else "The worker said something else."
    raise ResourceError(what, remedy="Read worker.log in the site's folder, which says where it failed.")
