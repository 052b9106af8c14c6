"""How well a model did: integer sufficient statistics that add, and exact figures of one site.

(placeholder head; owned by the learning package)
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.study import Digest, Section


class Score(Section):
    """One model scored on one split of one site.

    `statistics` are integer vectors that add over sites; `figures` are this site's own exact
    figures, rounded to 4 decimals. What each may hold is fixed by the task's metric rules.
    """

    model_digest: Digest
    split: Literal["validation", "test"]
    patients: Annotated[int, Field(ge=0, le=2**40)]
    statistics: dict[Annotated[str, Field(max_length=48)], tuple[Annotated[int, Field(ge=0, le=2**40)], ...]]
    figures: dict[Annotated[str, Field(max_length=48)], Annotated[float, Field(ge=-1e6, le=1e6)]]


class MetricRule(Section):
    """What one metric in a Score may be; part of the contract."""

    name: Annotated[str, Field(max_length=48)]
    kind: Literal["statistic", "figure"]
    length: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    low: float
    high: float
