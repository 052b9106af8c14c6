"""The cohort rule of a study: which sites may be asked together, and how many of them a round takes.

A site agrees to it with the contract, which holds its digest: another site, or a smaller quorum, is another contract.
That the sites are hospitals, the rule does not show.
"""

from collections.abc import Iterator, Sequence

from shared.canonical import canonical, digest
from shared.schedule import RoundsSpec
from shared.study import Study

_DRAWN_BY = {"sites", "quorum", "sample", "buffer"}


def cohort_rule(study: Study, cohort: Sequence[str]) -> str:
    """SHA-256 (hex) of the rule.

    Args:
        study: whose rounds it is for.
        cohort: the sites that the opening names.
    """
    rounds = study.rounds.model_dump(mode="json", include=_DRAWN_BY)
    return digest(canonical({"sites": sorted(cohort), "rounds": rounds}))


def rule_in_words(rounds: RoundsSpec) -> Iterator[str]:
    """The rule for a person, one sentence each; the sites are named beside it."""
    if rounds.sample is not None:
        who = f"{rounds.sample:.0%} of the sites" if rounds.sample < 1 else f"{rounds.sample} of the sites"
        yield f"Each round asks {who} alone, drawn anew from the study's seed."
    if rounds.buffer is not None:
        yield f"A round closes as soon as {rounds.buffer} counted; later work counts in a later round, and for less."
    else:
        yield f"A round counts with {rounds.quorum} of the sites at least."
