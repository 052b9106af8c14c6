"""`[notify]` of site.toml: whom the agent tells of trouble, beside its console."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from shared import loopback
from shared.section import Section

Word = Annotated[str, Field(pattern=r"^[^\x00]{1,4096}$")]  # of a command


class NotifySettings(Section):
    """A program, an address, or both (`client/alarm.py`). What they hear is a code and where it came up, no more."""

    command: tuple[Word, ...] = ()
    webhook: Annotated[str, Field(pattern=r"^https?://[^\s@]{1,2000}$")] | None = None
    paused_hours: Annotated[int, Field(ge=1, le=8760)] = 24

    @model_validator(mode="after")
    def _webhook_is_encrypted(self) -> Self:
        if self.webhook is not None:
            parts = urlsplit(self.webhook)
            if parts.scheme != "https" and parts.hostname not in loopback.NAMES:
                raise ValueError("notify.webhook needs https, but for an address of this machine")
        return self
