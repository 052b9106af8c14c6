"""Who counted in each round, who did not and why, and what was refused in the whole study.

A site is late if it was at work or had reported its work of the round, but did not count for want of
time; a site that gave no sign of work is absent. A site whose work of the round counted in a later one was at
work: that is how a slow site takes part.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from server.history import StudyHistory
from server.records import RoundCommitted, RoundFailed, RoundOpened, SiteRefused, UpdateRefused
from server.report.evidence import Evidence
from server.report.words import plain, sites_in_order

State = Literal["counted", "at work", "late", "refused", "absent", "not asked"]
End = RoundCommitted | RoundFailed | None
Item = TypeVar("Item")


@dataclass(frozen=True)
class Seat:
    """What became of one site in one round."""

    state: State
    why: str | None = None


@dataclass(frozen=True)
class RoundFacts:
    """A round that was opened.

    Attributes:
        attempts: how often it was opened; more than once after a resume.
        seconds: from its last opening to its commit; None if it was not committed.
        seats: by site of the cohort.
    """

    number: int
    committed: bool
    attempts: int
    seconds: float | None
    seats: dict[str, Seat]


@dataclass(frozen=True)
class Refused:
    """What one site was refused, or refused itself (`by`), for the same reasons; `detail` is the first's."""

    site: str
    by: Literal["server", "site"]
    codes: tuple[str, ...]
    words: str
    detail: str
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Lost:
    """In which rounds, and how often, the line to a site broke for one cause."""

    site: str
    words: str
    rounds: tuple[int, ...]
    times: int


def rounds_of(evidence: Evidence) -> tuple[RoundFacts, ...]:
    """Every round that was opened, in order."""
    history, openings, ends = evidence.history, _openings(evidence), _ends(evidence)
    cohort = sites_in_order(history.started.cohort) if history.started else []
    refused = {(said.round, said.site): said for said in history.refusals}
    worked = {(said.round, said.site) for said in history.readies}
    carried = _carried(history)
    sampled = evidence.study.rounds.sample is not None
    unasked = "It was not drawn for this round." if sampled else "It had not opened the study."
    found = []
    for number, times in sorted(openings.items()):
        (opened_at, opened), (ended_at, end) = times[-1], ends.get(number, (None, None))
        committed = isinstance(end, RoundCommitted)
        seats = {
            site: carried.get((number, site))
            or _seat(site, end, refused.get((number, site)), worked=(number, site) in worked)
            if site in opened.cohort
            else Seat("not asked", unasked)
            for site in cohort
        }
        seconds = (ended_at - opened_at).total_seconds() if committed and ended_at is not None else None
        found.append(RoundFacts(number, committed, len(times), seconds, seats))
    return tuple(found)


def refusals_of(history: StudyHistory) -> tuple[Refused, ...]:
    """What was refused, drawn together by site and reasons."""
    alike = _grouped(history.refusals, lambda said: (said.site, _codes(said)))
    return tuple(_refused(group) for group in alike)


def losses_of(history: StudyHistory) -> tuple[Lost, ...]:
    """Where a line broke, drawn together by site and cause."""
    alike = _grouped(history.losses, lambda lost: (lost.site, lost.cause))
    return tuple(
        Lost(group[0].site, plain(group[0].cause), _in_order(lost.round for lost in group), len(group))
        for group in alike
    )


def _openings(evidence: Evidence) -> dict[int, list[tuple[datetime, RoundOpened]]]:
    found: dict[int, list[tuple[datetime, RoundOpened]]] = {}
    for time, record in evidence.records:
        if isinstance(record, RoundOpened):
            found.setdefault(record.round, []).append((time, record))
    return found


def _ends(evidence: Evidence) -> dict[int, tuple[datetime, RoundCommitted | RoundFailed]]:
    ended = ((time, said) for time, said in evidence.records if isinstance(said, RoundCommitted | RoundFailed))
    return {said.round: (time, said) for time, said in ended}


def _carried(history: StudyHistory) -> dict[tuple[int, str], Seat]:
    """Of rounds that closed without a site whose work counted later: by round and site."""
    counted = {(commit.round, site) for commit in history.commits for site in commit.counted}
    late = (said for said in history.readies if said.late_from and (said.round, said.site) in counted)
    return {
        (number, said.site): Seat("at work", f"Its work of round {said.late_from} counted in round {said.round}.")
        for said in late
        for number in range(said.late_from or 0, said.round)
    }


def _seat(site: str, end: End, refusal: UpdateRefused | SiteRefused | None, *, worked: bool) -> Seat:
    if end is not None and site in end.counted:
        return Seat("counted")
    if refusal is not None:
        return Seat("refused", plain(_codes(refusal)[0]))
    causes = end.missing if isinstance(end, RoundFailed) else end.late | end.absent if end else {}
    why = plain(causes[site]) if site in causes else "The round was not closed." if end is None else None
    late = worked or (isinstance(end, RoundCommitted) and site in end.late)
    return Seat("late" if late else "absent", why)


def _codes(refusal: UpdateRefused | SiteRefused) -> tuple[str, ...]:
    if isinstance(refusal, SiteRefused):
        return (refusal.cause,)
    return tuple(reason.value for reason in refusal.reasons)


def _refused(alike: list[UpdateRefused | SiteRefused]) -> Refused:
    first = alike[0]
    codes = _codes(first)
    return Refused(
        site=first.site,
        by="server" if isinstance(first, UpdateRefused) else "site",
        codes=codes,
        words=" ".join(plain(code) for code in codes),
        detail=first.detail if isinstance(first, UpdateRefused) else "",
        rounds=_in_order(said.round for said in alike),
    )


def _in_order(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(numbers)))


def _grouped(items: Iterable[Item], key: Callable[[Item], tuple[str, Hashable]]) -> list[list[Item]]:
    """Items that are alike, the groups in the order of the sites: the journal's order is that of the names."""
    groups: dict[tuple[str, Hashable], list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    places = {site: place for place, site in enumerate(sites_in_order({site for site, _ in groups}))}
    return [groups[found] for found in sorted(groups, key=lambda found: places[found[0]])]
