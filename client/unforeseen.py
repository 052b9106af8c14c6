"""A fault of our own over one message: it is answered with `internal`, and the agent goes on with the others.

Else the agent would end, and again after each start, since the message waits and the work lies in the spool. The work
stays there: mended software reports it, and a private study pays nothing again. The console hears what kind of fault it
was and where in the code, never the error's own words, which may quote what was worked on. Faults of the computer or
the line (`OSError`), and those of ours that have a type, are for whoever awaits them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

from shared.errors import Refusal, WardroundError, WireCode

_FRAMES = 4


@contextmanager
def refusing_the_unforeseen() -> Iterator[None]:
    """Turn an exception that nobody foresaw into a refusal that says where it was.

    Raises:
        Refusal: `INTERNAL`.
    """
    try:
        yield
    except (WardroundError, OSError):
        raise
    except Exception as error:
        remedy = (
            f"{type(error).__name__} at {_where(error.__traceback__)}. Report this line to Wardround's maintainers."
        )
        raise Refusal(WireCode.INTERNAL, remedy=remedy) from None


def _where(raised: TracebackType | None) -> str:
    """Files and lines, innermost first."""
    frames = extract_tb(raised)[: -_FRAMES - 1 : -1]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
