"""Who counted in each round, who did not and why, and what was refused in the whole study.

A site is late if its work of the round was done but the round closed before its update was in; a
site that gave no sign of work is absent.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from server.history import StudyHistory
from server.records import RoundCommitted, RoundFailed, RoundOpened, SiteRefused
from server.report.evidence import Evidence
from server.report.words import plain

State = Literal["counted", "late", "refused", "absent", "not asked"]
Item = TypeVar("Item")
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Seat:
    """What became of one site in one round."""

    state: State
    why: str | None = None


@dataclass(frozen=True)
class RoundFacts:
    """A round that was opened; `seconds` from its last opening to its commit, None before that."""

    number: int
    committed: bool
    attempts: int
    seconds: float | None
    seats: dict[str, Seat]
    model_digest: str | None = None
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Refusals, or lost lines, of one site for one reason; `detail` is that of the first."""

    site: str
    by: Literal["server", "site"]
    codes: tuple[str, ...]
    words: str
    detail: str
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Loss:
    """How often, and in which rounds, a line to a site broke."""

    site: str
    words: str
    rounds: tuple[int, ...]
    times: int


def rounds_of(evidence: Evidence) -> tuple[RoundFacts, ...]:
    """Every round that was opened, in order."""
    openings: dict[int, list[tuple[datetime, RoundOpened]]] = {}
    ends: dict[int, tuple[datetime, RoundCommitted | RoundFailed]] = {}
    for time, record in evidence.records:
        match record:
            case RoundOpened():
                openings.setdefault(record.round, []).append((time, record))
            case RoundCommitted() | RoundFailed():
                ends[record.round] = (time, record)
    cohort = evidence.history.started.cohort if evidence.history.started else ()
    return tuple(_round(evidence.history, cohort, openings[n], ends.get(n)) for n in sorted(openings))


def refusals_of(history: StudyHistory) -> tuple[Refusal, ...]:
    """What was refused, drawn together by site and reason."""
    grouped = _grouped(history.refusals, lambda r: (r.site, type(r).__name__, " ".join(_codes(r))))
    return tuple(_refusal(items) for items in grouped)


def losses_of(history: StudyHistory) -> tuple[Loss, ...]:
    """Where the line broke, drawn together by site and cause."""
    grouped = _grouped(history.losses, lambda loss: (loss.site, loss.cause, ""))
    return tuple(
        Loss(group[0].site, plain(group[0].cause), tuple(sorted({loss.round for loss in group})), len(group))
        for group in grouped
    )


def _round(
    history: StudyHistory,
    cohort: Iterable[str],
    openings: list[tuple[datetime, RoundOpened]],
    end: tuple[datetime, RoundCommitted | RoundFailed] | None,
) -> RoundFacts:
    started_at, opened = openings[-1]
    committed = end[1] if end and isinstance(end[1], RoundCommitted) else None
    return RoundFacts(
        number=opened.round,
        committed=committed is not None,
        attempts=len(openings),
        seconds=(end[0] - started_at).total_seconds() if end and committed else None,
        seats={site: _seat(history, opened, end[1] if end else None, site) for site in sorted(cohort)},
        model_digest=committed.model_digest if committed else None,
    )


def _seat(history: StudyHistory, opened: RoundOpened, end: RoundCommitted | RoundFailed | None, site: str) -> Seat:
    number = opened.round
    if site not in opened.cohort:
        return Seat("not asked", "It had not opened the study.")
    if end is not None and site in end.counted:
        return Seat("counted")
    said_no = [r for r in history.refusals if (r.round, r.site) == (number, site)]
    if said_no:
        return Seat("refused", plain(_codes(said_no[-1])[0]))
    causes = end.missing if isinstance(end, RoundFailed) else end.absent if end is not None else {}
    why = plain(causes[site]) if site in causes else None
    if any((r.round, r.site) == (number, site) for r in history.readies):
        return Seat("late", why or "Its update did not count.")
    return Seat("absent", why or "The round did not close.")


def _codes(record: object) -> tuple[str, ...]:
    if isinstance(record, SiteRefused):
        return (record.code.value,)
    return tuple(reason.value for reason in getattr(record, "reasons", ()))


def _refusal(items: list[object]) -> Refusal:
    raise NotImplementedError


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> list[list[Item]]:
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
