"""Late work: for which earlier rounds a site may still answer, and what such work weighs.

Pure. With `rounds.late = "next"` a site that was late in a round may give that round's work in a later
one, once, in the place of new work. It weighs its examples times

    (1 + s)**-staleness_exponent        s = rounds between the model that it started from and the model that it moves

which is the discount of FedBuff (Nguyen et al., AISTATS 2022, section 5) for the exponent 1/2.
"""

from server.history import LiveHistory
from shared.study import RoundsSpec


def owed(site: str, history: LiveHistory, rounds: RoundsSpec) -> dict[int, str]:
    """By round, the model that it started from, of the work that the site may still give.

    They are the rounds in which the site was late since it last counted or was refused, by the journal's
    word or, if the round was opened again and the site was away then, by its own announcement.
    """
    found: dict[int, str] = {}
    if rounds.late == "drop":
        return found
    announced, _ = history.worked.get(site, (0, None))
    for commit in reversed(history.commits):
        if site in commit.counted or site in commit.refused:
            break
        if site in commit.late or commit.round == announced:
            found[commit.round] = commit.previous_digest
    return found


def discount(*, staleness: int, exponent: float) -> float:
    """What the examples of late work are multiplied by; 1 for work that is not late.

    Raises:
        ValueError: the work is of a later round than the one that it would count in.
    """
    if staleness < 0:
        raise ValueError("work cannot be newer than its round")
    return float((1 + staleness) ** -exponent)
