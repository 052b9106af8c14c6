"""A section of the page's evidence: a heading, what it shows, and one table."""

from collections.abc import Sequence
from dataclasses import dataclass

_CODE = ("sha-256", "digest", "head", "fingerprint", "contract")  # columns that are set as code
_NUMBERS = {
    *("entry", "round", "bytes", "releases", "updates", "last round", "refused", "left", "arrived", "counted"),
    *("bytes left", "bytes arrived", "epsilon, at most", "the site said", "rounds charged", "without a charge"),
}


@dataclass(frozen=True)
class Section:
    """A heading with an anchor, what it shows, and a table; `rows` may be empty, which `none` then says."""

    id: str
    title: str
    lead: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    none: str = "There is none."

    def kind(self, column: int) -> str:
        """The class of a column's cells: digests are set as code, names and times are not cut, numbers stand right."""
        title = self.columns[column].lower()
        if any(word in title for word in _CODE):
            return "digest"
        if title in _NUMBERS:
            return "number"
        if title in ("as found", "what"):
            return "free"
        return "name" if title in ("study", "time") else ""
