"""Late work: for which earlier rounds a site may still answer, and what such work weighs.

Pure. With `rounds.late = "next"` a site that was late in a round may give that round's work in a later
one, once, in the place of new work. It weighs its examples times

    (1 + s)**-staleness_exponent        s = rounds between the model that it started from and the model that it moves

which is the discount of FedBuff (Nguyen et al., AISTATS 2022, section 5) for the exponent 1/2. How the
discount moves the model is the fold's matter.
"""

from collections.abc import Iterable

from server.history import LiveHistory
from server.norms import HISTORY_ROUNDS, NormHistory
from server.rounds import Phase
from shared.schedule import RoundsSpec
from shared.wire import Late


def owed(site: str, history: LiveHistory, rounds: RoundsSpec) -> dict[int, str]:
    """By round, the model that it started from, of the work that the site may still give.

    They are the rounds in which the site was late since it last counted or was refused, or may have been at
    work behind a line that was lost, by the journal's word or, if the round was opened again and the site was
    away then, by its own announcement.
    """
    found: dict[int, str] = {}
    if rounds.late == "drop":
        return found
    announced, _ = history.worked.get(site, (0, None))
    for commit in reversed(history.commits):
        if site in commit.counted or site in commit.refused:
            break
        if site in commit.at_work or commit.round == announced:
            found[commit.round] = commit.previous_digest
    return found


def norms_for(late: Late | None, history: LiveHistory) -> NormHistory:
    """The admitted norms that work is held against: of the last rounds or, if larger, of those up to its own.

    Updates become smaller as a study goes on, and work that was begun with the others is as large as theirs were.
    """
    if late is None:
        return history.norms
    then = NormHistory(rounds=tuple(history.norms_of[: late.round][-HISTORY_ROUNDS:]))
    return max(history.norms, then, key=lambda norms: norms.bound(1.0))


def slots_for(cohort: Iterable[str], history: LiveHistory, rounds: RoundsSpec) -> tuple[str, ...]:
    """Who may get a slot with the question: first who has finished late work, then who owes none.

    A site that is at work on an earlier round would hold its slot idle, and asks for one when it is done.
    """
    finished, free = [], []
    for site in sorted(cohort):
        owing, said = owed(site, history, rounds), history.announced.get(site)
        if not owing:
            free.append(site)
        elif said is not None and said.round in owing:
            finished.append(site)
    return (*finished, *free)


def cut_off(history: LiveHistory) -> frozenset[str]:
    """Whose upload was on its way when the last round closed."""
    late = history.commits[-1].late if history.commits else {}
    return frozenset(site for site, cause in late.items() if cause == Phase.GRANTED)


def discount_of(begun: int, number: int, rounds: RoundsSpec) -> float:
    """What the examples of the work of round `begun` are multiplied by in round `number`."""
    return discount(staleness=number - begun, exponent=rounds.staleness_exponent)


def discount(*, staleness: int, exponent: float) -> float:
    """What the examples of late work are multiplied by; 1 for work that is not late.

    Raises:
        ValueError: the work is of a later round than the one that it would count in.
    """
    if staleness < 0:
        raise ValueError("work cannot be newer than its round")
    return float((1 + staleness) ** -exponent)
