"""A replay: a finished study run again from what its folder holds, and where the two part.

The folder has the study with its seed, the start model and the cohort; the images are at the sites, so it
is they who work again. Two runs can only be equal where sites, versions, threads, devices, patients and
participation are; what of these differs is named first, because it explains the rest. A buffered study counts
what comes first, so there the participation may differ without a fault anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from server.clone import under_free_name
from server.history import StudyHistory
from server.records import RoundCommitted, SiteOpened
from shared.study import Study

SUFFIX = "-replay"


@dataclass(frozen=True)
class Difference:
    """What was not the same: of a site, or of a round (then `site` is None)."""

    what: str
    site: str | None
    before: str
    now: str
    round: int | None = None


@dataclass(frozen=True)
class Replayed:
    """How a replay compares.

    Attributes:
        rounds: how many rounds the first run committed.
        first_difference: the first round whose models differ, 0 for the start model; None if none does.
        other_updates: the first round in which other work counted, by site and by the round that it is of; or None.
        same_choice: whether the final model is that of the same round.
        differ: what else was not the same, which may be why.
    """

    rounds: int
    first_difference: int | None
    other_updates: int | None
    same_choice: bool
    differ: tuple[Difference, ...]

    @property
    def bit_identical(self) -> bool:
        """Whether every model of the two runs is the same byte for byte."""
        return self.first_difference is None and self.same_choice


def replay_of(study: Study, cohort: tuple[str, ...], *, taken: set[str]) -> Study:
    """The study to launch for a replay: the same for the same sites, under a name of its own.

    Args:
        study: as it ran to its end.
        cohort: the sites that it asked.
        taken: names that are in use.
    """
    again = under_free_name(study, SUFFIX, taken=taken)
    return again.model_copy(update={"rounds": again.rounds.model_copy(update={"sites": cohort})})


def compare_runs(before: StudyHistory, now: StudyHistory) -> Replayed:
    """Hold a replay against the run that it repeats."""
    differ = (*_of_sites(before, now), *_of_rounds(before, now))
    same_choice = before.final_round == now.final_round
    others = (number for number, one, other in _counted(before, now) if one != other)
    return Replayed(len(before.commits), _first_difference(before, now), next(others, None), same_choice, differ)


def _first_difference(before: StudyHistory, now: StudyHistory) -> int | None:
    for number, (one, other) in enumerate(zip(_models(before), _models(now), strict=False)):
        if one != other:
            return number
    both = min(len(before.commits), len(now.commits))
    return both + 1 if len(before.commits) != len(now.commits) else None


def _models(history: StudyHistory) -> Iterator[str | None]:
    yield history.started.start_digest if history.started else None
    yield from (commit.model_digest for commit in history.commits)


def _of_sites(before: StudyHistory, now: StudyHistory) -> Iterator[Difference]:
    for site in sorted(before.opened.keys() | now.opened.keys()):
        one, other = _about(before.opened.get(site)), _about(now.opened.get(site))
        for what in one | other:
            if one.get(what) != other.get(what):
                yield Difference(what, site, one.get(what, "absent"), other.get(what, "absent"))


def _about(opened: SiteOpened | None) -> dict[str, str]:
    """What of a site decides its work, as it said when it opened the study."""
    if opened is None:
        return {}
    counts = {f"patients to {split}": str(number) for split, number in sorted(opened.patients.items())}
    return {"device": opened.device, "threads": str(opened.threads)} | dict(sorted(opened.software.items())) | counts


def _of_rounds(before: StudyHistory, now: StudyHistory) -> Iterator[Difference]:
    for number, one, other in _counted(before, now):
        if one != other:
            yield Difference("counted", None, ", ".join(one), ", ".join(other), round=number)
    one_chosen, other_chosen = _choosing(before), _choosing(now)
    if one_chosen != other_chosen:
        yield Difference("chosen by", None, one_chosen, other_chosen, round=before.final_round)


def _counted(before: StudyHistory, now: StudyHistory) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each round of both runs, with the sites that counted in either; of late work, with the round that it is of."""
    one, other = _late_work(before), _late_work(now)
    for commit, again in zip(before.commits, now.commits, strict=False):
        number = commit.round
        yield number, _named(commit, one), _named(again, other)


def _late_work(history: StudyHistory) -> dict[tuple[int, str], int]:
    return {(said.round, said.site): said.late_from for said in history.readies if said.late_from}


def _named(commit: RoundCommitted, late: dict[tuple[int, str], int]) -> list[str]:
    begun = {site: late.get((commit.round, site)) for site in commit.counted}
    return [f"{site} (of round {number})" if number else site for site, number in begun.items()]


def _choosing(history: StudyHistory) -> str:
    """Who decided which model is the final one, and among how many."""
    chosen = history.chosen
    return f"{', '.join(chosen.cohort)}, of {len(chosen.candidates)}" if chosen else "nobody"
