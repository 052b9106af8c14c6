"""Text that one party writes and people of another one read: what may stand in it.

A terminal obeys control characters, and some format characters let a line read otherwise than it is written (Unicode
UAX #9, explicit directional formatting). Neither stands in plain text, but what joins letters, and tabs and line breaks
where there may be several lines. That it fits into its place is left to whoever shows it.
"""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, surrogate, line and paragraph separators
_LAYOUT = "\n\t"
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # of Persian, Hindi and other scripts


def _insist_on_lines(text: str) -> str:
    for character in text:
        if unicodedata.category(character) in _OBEYED and character not in _LAYOUT + _JOINERS:
            raise ValueError(f"the character U+{ord(character):04X} does not stand in plain text")
    return text


def _insist_on_line(text: str) -> str:
    if any(character in text for character in _LAYOUT):
        raise ValueError("it is longer than one line, or has a tab")
    return _insist_on_lines(text)


PlainText = Annotated[str, AfterValidator(_insist_on_lines)]
PlainLine = Annotated[str, AfterValidator(_insist_on_line)]
