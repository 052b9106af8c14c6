"""An opening that a coordinator signed, as a site hands it to an auditor: a line of canonical JSON for each."""

from typing import Annotated

from pydantic import Field, ValidationError

from shared.canonical import parse_canonical
from shared.errors import TrustError
from shared.section import Section

LONGEST_OPENING = 17 << 20  # bytes of a line: an envelope of at most 8 MiB, in hex


class KeptOpening(Section):
    """The signed envelope, in hex; what it asks for, it says itself."""

    envelope: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=LONGEST_OPENING)]


def read_opening_line(line: bytes) -> KeptOpening:
    """One line.

    Raises:
        TrustError: it is none.
    """
    try:
        return KeptOpening.model_validate(parse_canonical(line.removesuffix(b"\n")))
    except (TrustError, ValidationError, RecursionError):
        raise TrustError("This is no line of openings.", remedy="Ask the site to export its ledger again.") from None
