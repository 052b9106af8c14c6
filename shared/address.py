"""Where in a study a message belongs: it is idempotent at its address."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shared.fields import Name
from shared.section import Section


class Stage(StrEnum):
    """The named steps of a study's protocol."""

    OPEN = "open"
    TRAIN = "train"
    UPLOAD = "upload"
    VALIDATE = "validate"
    EVALUATE = "evaluate"
    CLOSE = "close"
    REHEARSE = "rehearse"


class Address(Section):
    """Where a message belongs. `round` is 0 for open and counts from 1; `attempt` counts resends."""

    study: Name
    epoch: Annotated[int, Field(ge=1, le=2**31)]
    round: Annotated[int, Field(ge=0, le=2**31)]
    attempt: Annotated[int, Field(ge=1, le=2**31)]
    stage: Stage


UNADDRESSED = Address(study="unknown", epoch=1, round=0, attempt=1, stage=Stage.OPEN)  # answers what cannot be read
