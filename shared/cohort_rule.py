"""The cohort rule of a study: which sites may be asked together, and how many of them a round takes.

A site agrees to it with the contract, which holds its digest: another site, or a smaller quorum, is another contract.
That the sites are hospitals, the rule does not show.
"""

from collections.abc import Sequence

from shared.canonical import canonical, digest
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
