"""The one sentence that a reader takes away, and what became of the study."""

from dataclasses import dataclass

from server.report.evidence import Evidence
from server.report.privacy import privacy_of, rounded_up
from server.report.scores import Estimate, Pooled
from server.report.words import counted, merit_in_words, model_after
from server.study_folder import StudyState
from shared.tasks import task_for

NOT_FOR = (
    "For research only. Do not use this model for diagnosis, triage, treatment or any decision about a patient:"
    " it is not a medical device and has not been validated clinically. The figures hold for the patients"
    " counted here; they say nothing about other hospitals, scanners or populations."
)


@dataclass(frozen=True)
class Headline:
    """`before`, the figure and `after` read as one sentence; `figure` is empty if there is none."""

    before: str
    figure: str
    after: str

    @property
    def sentence(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.figure}{self.after}"


def headline_of(evidence: Evidence, test: Pooled, *, sites: int, train_patients: int) -> Headline:
    """The study's result in one sentence, or why there is none.

    Args:
        evidence: the study's folder.
        test: the final model on test patients.
        sites: how many sites counted in at least one round.
        train_patients: training patients of these sites.
    """
    done, trains = evidence.history.last_round, evidence.study.study.kind == "train"
    if trains and not done:
        return Headline("No round of this study was committed, so there is no trained model and no result.", "", "")
    private = privacy_of(evidence.study, committed=done)
    whom = "of private training" if private else f"on {counted(train_patients, 'training patient')}"
    trained = f"{counted(done, 'round')} {whom} at {counted(sites, 'site')}"
    if private and not test.sites:
        cost = f"epsilon {rounded_up(private.epsilon)} at delta {private.delta:g} per patient"
        return Headline(f"After {trained} ({cost}) there is a model, and no score of it: scores are withheld.", "", "")
    if not test.sites:
        subject = f"The model after {trained}" if trains else "The model under study"
        how = f"was scored, but {test.merit.why}" if test.withheld else "was not scored on test patients"
        return Headline(f"{subject} {how}, so there is no result.", "", "")
    measured = f" on {counted(test.patients, 'test patient')} of {counted(len(test.sites), 'site')}"
    subject = f"After {trained}, {_subject(evidence)}" if trains else "The model under study"
    if test.merit.value is None:
        return Headline(
            f"{subject} was scored{measured}, but its {_area(evidence)} is not defined: {test.merit.why}.", "", ""
        )
    reaches = f"reaches a test {_area(evidence)} of "
    if test.how == "mean":
        reaches = f"reaches, as the mean of the sites' own test {_area(evidence)}, "
    return Headline(f"{subject} {reaches}", f"{test.merit.value:.3f}", f"{_range(test.merit)}{measured}.")


def notice_of(evidence: Evidence) -> str | None:
    """What must be said first of a study that is not finished; None if it is."""
    standing, done = evidence.standing, evidence.history.last_round
    planned = evidence.study.rounds.count
    behind = f" {done} of {counted(planned, 'round')} committed." if evidence.study.study.kind == "train" else ""
    match standing.state:
        case StudyState.FINISHED:
            return None
        case StudyState.FAILED:
            return f"This study failed. {standing.reason or 'No reason was recorded.'}{behind}"
        case StudyState.STOPPED:
            return f"This study was stopped. {standing.reason or 'No reason was recorded.'}{behind}"
        case StudyState.PAUSED:
            return f"This study is paused; the figures are those so far.{behind}"
        case StudyState.QUEUED:
            return f"This study waits to be run.{behind}"
        case StudyState.RUNNING:
            return f"This study is still running; the figures are those so far.{behind}"


def _subject(evidence: Evidence) -> str:
    chosen = evidence.history.chosen
    if chosen is None or chosen.cause != "best":
        return "the model"
    return f"{model_after(chosen.round)}, the best on validation patients,"


def _area(evidence: Evidence) -> str:
    task = evidence.study.task
    return merit_in_words(task_for(task).merit, classes=len(task.classes))


def _range(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f" ({estimate.why})"
    return f" (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"
