"""Every fact of the report, joined; the page, the table and `--json` show these and no others."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from server.history import StudyHistory
from server.records import Split
from server.report.choice import Choice, choice_of
from server.report.evidence import Evidence
from server.report.fairness import Fairness, fairness_of
from server.report.habits import Drift, drift_of
from server.report.headline import NOT_FOR, Headline, headline_of, notice_of
from server.report.integrity import Integrity, integrity_of
from server.report.matrix import Matrix, matrix_of, own_matrix_of
from server.report.participation import Lost, Refused, RoundFacts, losses_of, refusals_of, rounds_of
from server.report.privacy import Privacy, privacy_of
from server.report.scores import (
    DRAWN,
    LIKELIEST,
    NO_CUT,
    AtThreshold,
    Point,
    Pooled,
    SiteScore,
    at_threshold,
    cuts_of,
    final_scores,
    pooled,
    site_score,
    validation_curve,
    withheld_by,
)
from server.report.words import counted, learning, sites_in_order
from server.report.work import (
    Machine,
    RoundWork,
    Seconds,
    Work,
    machine_of,
    seconds_by_round,
    work_by_round,
    work_of,
)
from shared.metrics import Merit, Score
from shared.private_training import scores_may_leave
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class About:
    """What the study asked for, and when it ran (RFC 3339, UTC; None if it did not).

    `measure` is the figure by which its models are known. `by_letter`: the sites' names are left out.
    `cross_site`: the sites' own models were to be scored, too.
    """

    name: str
    kind: str
    description: str
    state: str
    remedy: str | None
    task: str
    measure: Merit
    mode: str
    classes: tuple[str, ...]
    image: str
    model: str
    training: str | None
    rounds_planned: int
    rounds_committed: int
    seed: int
    started: str | None
    last_entry: str | None
    seconds: float | None
    by_letter: bool
    cross_site: bool


@dataclass(frozen=True)
class SiteFacts:
    """One site. `patients` and `machine` are None if it never opened the study.

    `seats` counts its rounds by what became of it there.
    """

    site: str
    patients: dict[Split, int] | None
    examples: dict[Split, int] | None
    machine: Machine | None
    validation: SiteScore
    test: SiteScore
    work: Work
    seats: dict[str, int]


@dataclass(frozen=True)
class Facts:
    """A study's report; `patients` are those of all sites that opened it, by split; none if that is withheld."""

    about: About
    notice: str | None
    headline: Headline
    not_for: str
    patients: dict[Split, int]
    privacy: Privacy | None
    choice: Choice | None
    curve: tuple[Point, ...]
    matrix: Matrix | None
    own_models: Matrix | None
    validation: Pooled
    test: Pooled
    threshold: AtThreshold
    sites: tuple[SiteFacts, ...]
    fairness: Fairness
    drift: Drift
    rounds: tuple[RoundFacts, ...]
    seconds: dict[int, Seconds]
    work: tuple[RoundWork, ...]
    refusals: tuple[Refused, ...]
    losses: tuple[Lost, ...]
    integrity: Integrity


def facts_of(evidence: Evidence) -> Facts:
    """All that the report says of a study."""
    study, history, task = evidence.study, evidence.history, task_for(evidence.study.task)
    validation, test = final_scores(history, "validation"), final_scores(history, "test")
    classes, withheld = study.task.classes, {split: withheld_by(history, split) for split in SPLITS}
    private = {split: not scores_may_leave(study.privacy, split) for split in SPLITS}
    pooled_test = pooled(task, classes, test, withheld=withheld["test"], private=private["test"])
    rounds = rounds_of(evidence)
    taking_part = set(chain.from_iterable(commit.counted for commit in history.commits))
    return Facts(
        about=_about(evidence),
        notice=notice_of(evidence),
        headline=headline_of(
            evidence, pooled_test, sites=len(taking_part), train_patients=_patients(history, "train", taking_part)
        ),
        not_for=NOT_FOR,
        patients={} if study.privacy else {split: _patients(history, split, history.opened) for split in SPLITS},
        privacy=privacy_of(study, committed=history.last_round),
        choice=choice_of(history),
        curve=validation_curve(task, history),
        matrix=matrix_of(task, history, _cohort(history)),
        own_models=None if evidence.by_letter else own_matrix_of(task, history, _cohort(history)),
        validation=pooled(task, classes, validation, withheld=withheld["validation"], private=private["validation"]),
        test=pooled_test,
        threshold=at_threshold(task, validation, test, uncut=_uncut(study.task)),
        sites=tuple(_site(evidence, site, rounds, validation.get(site), test.get(site)) for site in _cohort(history)),
        fairness=fairness_of(task, validation, test, cuts_of(task, validation)),
        drift=drift_of(evidence),
        rounds=rounds,
        seconds=seconds_by_round(history),
        work=work_by_round(evidence),
        refusals=refusals_of(history),
        losses=losses_of(history),
        integrity=integrity_of(evidence),
    )


def _uncut(task: TaskSpec) -> str | None:
    if task.kind == "segmentation":
        return NO_CUT
    if task.kind == "generation":
        return DRAWN
    return LIKELIEST if task.mode == "multiclass" else None


def _cohort(history: StudyHistory) -> list[str]:
    return sites_in_order(set(history.started.cohort if history.started else ()) | history.opened.keys())


def _patients(history: StudyHistory, split: Split, sites: Iterable[str]) -> int:
    return sum(history.opened[site].patients.get(split, 0) for site in sites if site in history.opened)


def _site(
    evidence: Evidence, site: str, rounds: tuple[RoundFacts, ...], validation: Score | None, test: Score | None
) -> SiteFacts:
    opened = evidence.history.opened.get(site)
    return SiteFacts(
        site=site,
        patients=dict(opened.patients) if opened else None,
        examples=dict(opened.examples) if opened else None,
        machine=machine_of(opened) if opened else None,
        validation=_own_score(evidence, site, "validation", validation),
        test=_own_score(evidence, site, "test", test),
        work=work_of(evidence, site),
        seats=dict(Counter(seats.state for r in rounds if (seats := r.seats.get(site)))),
    )


def _own_score(evidence: Evidence, site: str, split: Split, score: Score | None) -> SiteScore:
    study = evidence.study
    return site_score(
        task_for(study.task),
        score,
        withheld=site in withheld_by(evidence.history, split),
        private=not scores_may_leave(study.privacy, split),
    )


def _about(evidence: Evidence) -> About:
    study, standing, times = evidence.study, evidence.standing, [time for time, _ in evidence.records]
    images, model = study.images, study.model
    return About(
        name=study.name,
        kind=study.study.kind,
        description=study.study.description,
        state=standing.state.value,
        remedy=standing.remedy,
        task=study.task.kind,
        measure=task_for(study.task).merit,
        mode=study.task.mode,
        classes=study.task.classes,
        image=images.seen_words,
        model=f"{model.name}, {model.norm} norm",
        training=_training(study.training),
        rounds_planned=study.rounds.count if study.study.kind == "train" else 0,
        rounds_committed=evidence.history.last_round,
        seed=study.study.seed,
        started=_utc(times[0]) if times else None,
        last_entry=_utc(times[-1]) if times else None,
        seconds=(times[-1] - times[0]).total_seconds() if times else None,
        by_letter=evidence.by_letter,
        cross_site=study.selection.cross_site,
    )


def _training(training: TrainingSpec | None) -> str | None:
    if training is None:
        return None
    length = counted(training.epochs_per_round or 0, "epoch")
    if training.steps_per_round is not None:
        length = counted(training.steps_per_round, "step")
    if training.seconds_per_round is not None:
        length = f"the steps of {training.seconds_per_round:g} s"
    proximal = f" (mu {training.proximal_mu:g})" if training.proximal_mu else ""
    return (
        f"{training.algorithm}{proximal}, {length} per round, {training.optimizer}"
        f" at {training.learning_rate:g}, batches of {training.batch_size}{learning(training)}"
    )


def _utc(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
