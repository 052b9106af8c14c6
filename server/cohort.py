"""The cohort: which sites a study asks, and which of them a round draws.

Who of them is there, and for how long to wait, is the round's matter.
"""

import math
from collections.abc import Iterable, Sequence, Set

from shared.errors import StudyError
from shared.randomness import StudyRandom

MOST_SITES = 5000  # with names of 48 letters: an entry of the journal holds the heads of all, and a MiB at most
Sample = int | float | None  # so many sites, or which share of them; None is everybody


def choose(
    roster: Iterable[str], wanted: Sequence[str], *, quorum: int, sample: Sample = None, buffer: int | None = None
) -> tuple[str, ...]:
    """The sites to ask, by name: those wanted, or every site of the roster if none is named.

    Args:
        roster: names of the sites that may take part now.
        wanted: the study's own list (`rounds.sites`).
        quorum: how many of them must count in a round.
        sample: how many of them a round asks.
        buffer: with how many of them a round closes at once, if it does.

    Raises:
        StudyError: a wanted site is not on the roster, they are too many, or quorum or buffer cannot be reached.
    """
    known = set(roster)
    if unknown := sorted(set(wanted) - known):
        raise StudyError(
            f"The study names sites that are not on the roster: {', '.join(unknown)}.",
            remedy=f"Invite them, or correct rounds.sites; on the roster: {', '.join(sorted(known)) or 'nobody yet'}.",
        )
    cohort = _enough(tuple(sorted(set(wanted) or known)), quorum, sample)
    if len(cohort) > MOST_SITES:
        raise StudyError(
            f"The study asks {len(cohort):,} sites; it may ask {MOST_SITES:,}, whose heads fit one entry.",
            remedy="Name at most so many in rounds.sites, and run the others as a study of its own.",
        )
    if buffer is not None and buffer > len(cohort):
        raise StudyError(
            f"A round of the study closes with {buffer} sites, but only {len(cohort)} can be asked.",
            remedy="Lower rounds.buffer, to at most as many sites as are fast, or invite more sites.",
        )
    return cohort


def remaining(roster: Iterable[str], cohort: Iterable[str], *, quorum: int, sample: Sample = None) -> tuple[str, ...]:
    """The sites to go on with after a restart: those of the first cohort that were not removed since.

    Raises:
        StudyError: the quorum cannot be reached any more.
    """
    return _enough(tuple(sorted(set(cohort).intersection(roster))), quorum, sample)


def sample_size(sample: Sample, sites: int) -> int:
    """How many of so many sites a round asks; a share is rounded up."""
    if sample is None:
        return sites
    share = math.ceil(round(sample * sites, 6))  # 0.1 * 30 is a little more than 3
    return share if sample < 1 else min(int(sample), sites)


def draw(
    cohort: Iterable[str], present: Set[str], online: Set[str], *, size: int, random: StudyRandom
) -> tuple[str, ...]:
    """The sites that one round asks, by name.

    Args:
        cohort: the study's first cohort; the draw is an order of all of it.
        present: those that may be asked.
        online: those that are connected; the others come after them.
        size: how many to ask, if there are so many.
        random: the study's randomness at this round.
    """
    names = sorted(cohort)
    ranked = [names[i] for i in random.generator().permutation(len(names)) if names[i] in present]
    return tuple(sorted(sorted(ranked, key=lambda site: site not in online)[:size]))


def _enough(cohort: tuple[str, ...], quorum: int, sample: Sample) -> tuple[str, ...]:
    if len(cohort) < quorum:
        raise StudyError(
            f"The study needs {quorum} sites in each round, but only {len(cohort)} can be asked.",
            remedy="Lower rounds.quorum or invite more sites.",
        )
    if (size := sample_size(sample, len(cohort))) < quorum:
        raise StudyError(
            f"The study needs {quorum} sites in each round, but a round asks only {size} of {len(cohort)}.",
            remedy="Lower rounds.quorum or raise rounds.sample.",
        )
    return cohort
