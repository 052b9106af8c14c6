"""`[disk]` of site.toml: how much of its disk a site gives to decoded images and finished work, and for how long."""

from typing import Annotated

from pydantic import Field

from shared.section import Section


class DiskSettings(Section):
    """What decoded images may take, and for how long they and finished work stay. What an open study needs does."""

    cache_gb_at_most: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    cache_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    spool_days: Annotated[int, Field(ge=1, le=3650)] | None = None
