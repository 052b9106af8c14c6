"""The `[policy.budget]` table of site.toml: how much of a patient's privacy may be spent at this site, for life."""

from typing import Annotated

from pydantic import Field

from shared.section import Section

MOST_DELTA = 1e-6


class BudgetSettings(Section):
    """The limit of every patient, over all studies of the site.

    `lifetime_epsilon` is the most that a patient's history may cost at `delta`; without it everything is charged
    and nothing refused. Without `delta` it is the smaller of 1e-6 and a tenth of one in the number of patients.
    """

    lifetime_epsilon: Annotated[float, Field(gt=0, le=1000)] | None = None
    delta: Annotated[float, Field(gt=0, le=1e-3)] | None = None

    def delta_among(self, patients: int) -> float:
        """The delta at which everything is composed, where so many patients are known."""
        return self.delta or min(MOST_DELTA, 1 / (10 * max(patients, 1)))
