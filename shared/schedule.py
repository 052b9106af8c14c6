"""How many rounds a study has, with whom, and how long each waits; who is drawn is the server's business."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.buffering import buffer_fault
from shared.fields import Name
from shared.section import Section

LONGEST_WAIT_S = 7 * 86400  # of a round for its sites


class RoundsSpec(Section):
    """How many rounds, with whom, and how long the server waits.

    `sites` empty means every site on the roster. A round closes when all cohort sites are done,
    or at `deadline_s` (seconds after the round opened) if at least `quorum` sites counted, or
    `grace_s` (seconds) after the quorum was complete; None waits for the others until the deadline.

    `sample` is how many of the cohort are asked in a round, or which share of it if it is below 1; None
    asks everybody. Who, is drawn anew for each round from the study's seed.

    Work that is late is lost with `late = "drop"`. With `next` it counts in the round that is open when
    it comes, in the place of new work, its weight times (1 + rounds that it is late)**-staleness_exponent.

    With `buffer` a round closes as soon as so many sites counted (FedBuff, Nguyen et al. 2022): nobody is
    waited for, `late` is `next`, and late work moves the model by less instead of weighing less among others.

    With `keep_updates` the server keeps each update that counted, so that an auditor can make each model again.
    """

    count: Annotated[int, Field(ge=1, le=100_000)] = 10
    sites: Annotated[tuple[Name, ...], Field(max_length=10_000)] = ()  # a site's ledger may name them all in an entry
    sample: Annotated[int, Field(ge=1, le=10_000)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    quorum: Annotated[int, Field(ge=1, le=10_000)] = 1
    deadline_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S)] = 3600.0
    grace_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)] | None = None
    late: Literal["drop", "next"] = "drop"
    staleness_exponent: Annotated[float, Field(ge=0, le=10)] = 0.5
    buffer: Annotated[int, Field(ge=1, le=10_000)] | None = None
    keep_updates: bool = False

    @field_validator("sites")
    @classmethod
    def _each_site_once(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({site for site in sites if sites.count(site) > 1}):
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return sites

    @model_validator(mode="before")
    @classmethod
    def _late_counts_with_buffer(cls, given: Any) -> Any:
        buffered = isinstance(given, dict) and given.get("buffer") is not None
        return {"late": "next"} | given if buffered else given

    @model_validator(mode="after")
    def _buffer_fits(self) -> Self:
        quorum, sample, grace_s = self.quorum, self.sample, self.grace_s
        if fault := buffer_fault(self.buffer, late=self.late, grace_s=grace_s, quorum=quorum, sample=sample):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _sample_reaches_quorum(self) -> Self:
        if isinstance(self.sample, int) and self.sample < self.quorum:
            raise ValueError("sample is smaller than quorum: a round could never close")
        return self
