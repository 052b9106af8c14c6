"""What a rehearsal says about the study: how long a round takes, what must be mended first, what may be better.

Pure. A round is as long as its slowest site: the work that the site measured, twice the way of the start
model, since the update is as large and was not sent, and what every trip costs. A site that did not answer is a
finding like any other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from server.claim import AdmissionReason
from server.history import LiveHistory
from server.report.words import coarse
from server.rounds import Phase
from shared.errors import TEMPLATES, WireCode
from shared.rehearsal import MEANINGS, Check, Code, Outcome, code_for, fixes, told
from shared.schedule import LONGEST_WAIT_S
from shared.study import Study
from shared.training import LONGEST_TRAINING_S

SEVERAL_FOLD = 3.0  # so much longer than the median site is worth a word
HEADROOM = 1.5  # between the time foreseen and a deadline
TRIP_S = 0.5  # of each trip, beside work and way: both sides look at the line in turns, and write down what they do
_ABSENT = {
    Phase.WAITING.value: ("The site was not connected.", "Call it: have its IT run `wardround site start`."),
    Phase.ASKED.value: (
        "The site had not answered when the deadline passed.",
        "Rehearse again, with a longer --deadline: it was still decoding its images, which it keeps, or it was busy"
        " with a round of another study, since a site does one thing after the other.",
    ),
    Phase.REMOVED.value: ("The site was taken off the roster.", "Correct rounds.sites, or invite it again."),
    WireCode.TOO_OFTEN.value: (
        TEMPLATES[WireCode.TOO_OFTEN],
        "Rehearse again tomorrow, or go by what the site has answered; its console says from when on.",
    ),
}
_LOST = ("The line to the site was lost.", "Call the site: is its machine on, and its line up? Then rehearse again.")
_UNSIGNED = (
    "The answer was not signed by the site's own key.",
    "Ask its IT whether it serves with the keys that were admitted; then rehearse again.",
)
_UNFIT = (
    "The site's answer does not fit what was asked, so it was not taken.",
    "Compare the two sides' versions, and have its IT look at the site's console.",
)
_INCOMPLETE = (
    "The site did not come to the end of the work, and does not say why.",
    "Have its IT look at the site's console, and compare the two sides' versions.",
)


@dataclass(frozen=True)
class Seen:
    """What is known of one site: its checks, seconds of a round's work and of the model's way, or why it is missing."""

    site: str
    findings: Mapping[Check, Code] = field(default_factory=dict)
    work_s: float | None = None
    travel_s: float | None = None
    missing: str | None = None

    @property
    def round_s(self) -> float | None:
        """How long a round takes this site, in seconds."""
        return None if self.work_s is None else _rounded(self.work_s + 2 * (self.travel_s or 0.0) + TRIP_S)


@dataclass(frozen=True)
class Remark:
    """Something about a site that is not as it should be, and what to do."""

    site: str
    check: str
    outcome: Outcome
    code: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Forecast:
    """How the study looks, before it begins.

    Attributes:
        sites: by name, the absent ones included.
        remarks: what is to be mended or known, site by site.
        round_s, study_s: seconds of a round and of the whole study with every site; None if no site knows.
        slowest: the site that a round waits for longest.
        advice: what would make rounds shorter, in sentences.
    """

    sites: tuple[Seen, ...]
    remarks: tuple[Remark, ...]
    round_s: float | None
    study_s: float | None
    slowest: str | None
    advice: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is to be mended first."""
        return all(remark.outcome is not Outcome.FIX for remark in self.remarks)


def sites_of(history: LiveHistory) -> tuple[Seen, ...]:
    """What a rehearsal's journal knows of each site that it asked."""
    assert history.started is not None
    missing = history.missing or {}
    return tuple(_seen(site, history, missing.get(site, Phase.WAITING.value)) for site in history.started.cohort)


def forecast(study: Study, sites: tuple[Seen, ...]) -> Forecast:
    """Draw everything together.

    Args:
        study: what is to be run.
        sites: what the rehearsal showed of each site.
    """
    times = {seen.site: seen.round_s for seen in sites if seen.round_s is not None}
    slowest = max(times, key=lambda site: times[site], default=None)
    round_s = times[slowest] if slowest else None
    remarks = (*(remark for seen in sites for remark in _remarks(seen)), *_too_slow(study, times))
    return Forecast(
        sites=sites,
        remarks=remarks,
        round_s=round_s,
        study_s=None if round_s is None else _study_s(study, sites, round_s),
        slowest=slowest,
        advice=tuple(_advice(study, {seen.site: seen for seen in sites if seen.site in times}, slowest)),
    )


def _study_s(study: Study, sites: tuple[Seen, ...], round_s: float) -> float:
    """All rounds, and the trips around them: the opening, validation, comparison and the closing one.

    Such a trip takes a model to the sites; what its scoring takes is not known. A study that does not train does
    its work in the closing trip.
    """
    rounds = study.agreed_rounds or 1
    others = study.closing_number + 1 - rounds
    way_s = max(seen.travel_s or 0.0 for seen in sites)
    return _rounded(rounds * round_s + others * (way_s + TRIP_S))


def _seen(site: str, history: LiveHistory, missing: str) -> Seen:
    if answer := history.rehearsed.get(site):
        found = {check: answer.findings[check] for check in Check if check in answer.findings}
        return Seen(site, found, answer.work_s, answer.travel_s)
    other = missing == WireCode.PROTOCOL.value
    return Seen(site, told(code_for(WireCode.PROTOCOL)) if other else {}, missing=missing)


def _remarks(seen: Seen) -> Iterator[Remark]:
    for code in seen.findings.values():
        if code is not Code.PASS:
            check, outcome, what, remedy = MEANINGS[code]
            yield Remark(seen.site, check.value, outcome, code.value, what, remedy)
    if seen.missing is not None and not seen.findings:
        what, remedy = _why_missing(seen.missing)
        yield Remark(seen.site, "answer", Outcome.FIX, seen.missing, what, remedy)
    elif seen.missing is None and seen.round_s is None and not fixes(seen.findings):
        yield Remark(seen.site, "answer", Outcome.FIX, "incomplete", *_INCOMPLETE)


def _why_missing(cause: str) -> tuple[str, str]:
    if cause in _ABSENT:
        return _ABSENT[cause]
    if cause in TEMPLATES:
        return TEMPLATES[WireCode(cause)], "Ask the site's IT what its console says."
    if cause == AdmissionReason.BAD_SIGNATURE:
        return _UNSIGNED
    return _UNFIT if cause in {*AdmissionReason} else _LOST


def _too_slow(study: Study, times: Mapping[str, float]) -> Iterator[Remark]:
    """Sites that no round would wait for; grave where too few others are left."""
    limit = study.rounds.deadline_s
    late = [site for site, seconds in times.items() if seconds > limit]
    outcome = Outcome.FIX if len(times) - len(late) < study.rounds.quorum else Outcome.WARN
    for site in late:
        what = f"A round takes this site {coarse(times[site])}, and rounds.deadline_s is {coarse(limit)}."
        remedy = "Ask for fewer steps: rounds.deadline_s cannot be as long."
        if (longest := max(times.values())) <= LONGEST_WAIT_S:
            enough = min(_rounded(HEADROOM * longest), LONGEST_WAIT_S)
            remedy = f"Set rounds.deadline_s to {enough:g} or more, or ask for fewer steps."
        yield Remark(site, "deadline", outcome, "beyond_deadline", what, remedy)


def _advice(study: Study, sites: Mapping[str, Seen], slowest: str | None) -> Iterator[str]:
    if slowest is None:
        return
    works = {site: seen.work_s or 0.0 for site, seen in sites.items()}
    typical, seen = _rounded(median(works.values())), sites[slowest]
    if works[slowest] >= SEVERAL_FOLD * typical > 0:
        yield f"{slowest} takes {works[slowest] / typical:.1f} times as long as the median site ({coarse(typical)})."
        near = sum(work < SEVERAL_FOLD * typical for work in works.values())
        yield from _for_unequal_sites(study, typical, near=near)
    if (way := 2 * (seen.travel_s or 0.0)) > works[slowest]:
        yield f"{slowest} is on the line for {coarse(way)} of a round: more steps in fewer rounds cost it less."


def _for_unequal_sites(study: Study, typical: float, *, near: int) -> Iterator[str]:
    """What a study may ask for where sites differ; `near` of them are no slower than others."""
    training, rounds = study.training, study.rounds
    if training is None or study.study.kind != "train":
        return
    fits = typical <= LONGEST_TRAINING_S and typical < rounds.deadline_s
    if fits and training.seconds_per_round is None and training.algorithm != "scaffold":
        yield f"With training.seconds_per_round = {typical:g} each site takes as many steps as fit into that time."
    if rounds.buffer is not None:
        return
    if rounds.grace_s is None and typical <= LONGEST_WAIT_S:
        yield f"With rounds.grace_s = {typical:g} a round closes so long after {rounds.quorum} sites have counted."
    if study.keeps_state or study.selection.compares:
        return
    if rounds.late == "drop":
        yield 'With rounds.late = "next" the work of a slow site counts in the round after, discounted by its age.'
    if rounds.grace_s is None and rounds.sample is None and training.algorithm != "fednova" and near >= rounds.quorum:
        keys = f'rounds.buffer = {near} and rounds.late = "next"'
        yield f"Or, instead of rounds.grace_s, with {keys} a round closes with the first {near} sites that counted."


def _rounded(seconds: float) -> float:
    """A duration in two significant digits, however long: sums are not bounded as what a site tells is."""
    return float(f"{seconds:.1e}") if seconds >= 0.001 else 0.0
