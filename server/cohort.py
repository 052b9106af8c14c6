"""The cohort: which sites a study asks. Who of them is there, and for how long to wait, is the round's matter."""

from collections.abc import Iterable, Sequence

from shared.errors import StudyError


def choose(roster: Iterable[str], wanted: Sequence[str], *, quorum: int) -> tuple[str, ...]:
    """The sites to ask, by name: those wanted, or every site of the roster if none is named.

    Args:
        roster: names of the sites that may take part now.
        wanted: the study's own list (`rounds.sites`).
        quorum: how many of them must count in a round.

    Raises:
        StudyError: a wanted site is not on the roster, or the quorum cannot be reached.
    """
    known = set(roster)
    if unknown := sorted(set(wanted) - known):
        raise StudyError(
            f"The study names sites that are not on the roster: {', '.join(unknown)}.",
            remedy=f"Invite them, or correct rounds.sites; on the roster: {', '.join(sorted(known)) or 'nobody yet'}.",
        )
    return _enough(tuple(sorted(set(wanted) or known)), quorum=quorum)


def remaining(roster: Iterable[str], cohort: Iterable[str], *, quorum: int) -> tuple[str, ...]:
    """The sites to go on with after a restart: those of the first cohort that were not removed since.

    Raises:
        StudyError: the quorum cannot be reached any more.
    """
    return _enough(tuple(sorted(set(cohort).intersection(roster))), quorum=quorum)


def _enough(cohort: tuple[str, ...], *, quorum: int) -> tuple[str, ...]:
    if len(cohort) < quorum:
        raise StudyError(
            f"The study needs {quorum} sites in each round, but only {len(cohort)} can be asked.",
            remedy="Lower rounds.quorum or invite more sites.",
        )
    return cohort
