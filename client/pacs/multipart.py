"""The one part of a `multipart/related` answer (RFC 2387, PS3.18 8.7.1), piece by piece as it comes.

Decides where the part begins and ends. A second part, no part and a missing end are errors: an instance was asked
for, and one is expected, whole.
"""

import re
from collections.abc import Iterable, Iterator

_HEADER_BYTES = 16 << 10  # of what stands before the part, its own header included
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)  # RFC 2046 5.1.1


class BadAnswer(Exception):
    """The bytes are not what was asked for."""


def only_part(content_type: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of the only part; of an answer without parts, the whole.

    Args:
        content_type: the answer's.
        pieces: the body.

    Raises:
        BadAnswer: it is neither DICOM nor one part, or ends too early.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/dicom":
        yield from pieces
        return
    found = _BOUNDARY.search(content_type)
    if kind != "multipart/related" or found is None:
        raise BadAnswer
    mark = b"\r\n--" + (found[1] or found[2]).encode()
    incoming = iter(pieces)
    yield from _until(mark, _after_header(mark, incoming), incoming)


def _after_header(mark: bytes, incoming: Iterator[bytes]) -> bytes:
    """What has come of the part's content when its header is whole."""
    held = b"\r\n"  # the first boundary may open the body
    for piece in incoming:
        held += piece
        start = held.find(mark)
        end = held.find(b"\r\n\r\n", start + len(mark)) if start >= 0 else -1
        if end >= 0:
            return held[end + 4 :]
        if len(held) > _HEADER_BYTES:
            break
    raise BadAnswer


def _until(mark: bytes, held: bytes, incoming: Iterator[bytes]) -> Iterator[bytes]:
    """The content up to the closing boundary, which may be cut anywhere by the pieces."""
    while (end := held.find(mark)) < 0:
        safe = max(0, len(held) - len(mark))
        if safe:
            yield held[:safe]
        piece = next(incoming, None)
        if piece is None:
            raise BadAnswer
        held = held[safe:] + piece
    yield held[:end]
    rest = held[end + len(mark) :]
    while len(rest) < 2 and (piece := next(incoming, None)) is not None:
        rest += piece
    if rest[:2] != b"--":
        raise BadAnswer
