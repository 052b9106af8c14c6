"""What a site adds to the contract that follows from a study: its software, the floors it keeps, and an end.

The coordinator learns these terms with the site's answer to the opening, so that both name one contract. Whether
terms still hold at the site, `client/terms.py` decides; what end the coordinator believes, `end_fault`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.fields import Digest
from shared.section import Section

LONGEST_DAYS = 3650  # of a contract
_AHEAD = timedelta(days=2)  # what clocks may differ by: beyond 26 hours a site gets no line
_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _insist_on_time(text: str) -> str:
    if not _FORM.fullmatch(text):
        raise ValueError("a time is said as 2026-01-31T12:00:00Z")
    datetime.fromisoformat(text)
    return text


Until = Annotated[str, AfterValidator(_insist_on_time)]
FloorKey = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,47}$")]
Floors = Annotated[dict[FloorKey, Annotated[int, Field(ge=0, lt=2**53)]], Field(max_length=32)]


class SiteTerms(Section):
    """What one site agreed under.

    `code` is the SHA-256 (hex) over its Python files, `wheel` that of the wheel, where the installer noted it.
    `floors` are the numbers of its policy that a round must reach. After `expires` (RFC 3339, UTC, whole seconds)
    nothing leaves under the contract.
    """

    code: Digest
    wheel: Digest | None = None
    floors: Floors
    expires: Until

    def __hash__(self) -> int:
        return hash((self.code, self.wheel, self.expires))  # a mapping, as the floors are, has none

    def run_out(self, now: str) -> bool:
        """Whether the end has come at a time (RFC 3339)."""
        return datetime.fromisoformat(now) >= datetime.fromisoformat(self.expires)


def until(now: datetime, *, days: int) -> str:
    """The end of a contract of so many days that begins now, to the second."""
    end = datetime.fromtimestamp(int(now.timestamp()) + days * 86_400, UTC)
    return end.isoformat().replace("+00:00", "Z")


def end_fault(terms: SiteTerms, *, at: float) -> str | None:
    """Whether a contract that begins at a time (Unix seconds) would be over, or last too long; None if neither."""
    now, end = datetime.fromtimestamp(at, UTC), datetime.fromisoformat(terms.expires)
    if end <= now:
        return f"its end, {terms.expires}, has passed already"
    longest = timedelta(days=LONGEST_DAYS) + _AHEAD
    return f"it ends on {terms.expires}, and lasts at most {LONGEST_DAYS} days" if end - now > longest else None
