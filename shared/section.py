"""What every part of a configuration, message or record is built on."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of a configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
