"""What a private study costs a patient, as the coordinator's pages tell it.

Each committed round counts once. A site that had to train a round anew spent more: its own ledger says so.
"""

import math
from dataclasses import dataclass

from shared.privacy import epsilon_of
from shared.private_training import history_of
from shared.study import Study

WITHHELD = "withheld: the study trains privately"


@dataclass(frozen=True)
class Privacy:
    """Epsilon at delta, for each training patient: of the committed rounds, and of all that are planned."""

    unit: str
    epsilon: float
    planned_epsilon: float
    delta: float

    @property
    def words(self) -> str:
        """Both figures, rounded up."""
        spent, planned = rounded_up(self.epsilon), rounded_up(self.planned_epsilon)
        return f"epsilon {spent} so far, {planned} for all rounds, at delta {self.delta:g}, per {self.unit}"


def privacy_of(study: Study, *, committed: int) -> Privacy | None:
    """What a study cost after so many committed rounds; None if it does not train privately."""
    if study.privacy is None:
        return None
    delta = study.privacy.delta
    spent, planned = (
        epsilon_of(history_of(study.privacy, study.training, rounds=n), delta=delta)
        for n in (committed, study.rounds.count)
    )
    return Privacy("patient", spent, planned, delta)


def rounded_up(epsilon: float) -> str:
    """An epsilon with two decimals, never below what it is."""
    return f"{math.ceil(epsilon * 100) / 100:.2f}"
