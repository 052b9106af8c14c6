"""What may be asked of the process that decodes: about a file, for a volume of many, for its mask. A line of JSON each.

Names of files are percent-encoded, because the name of a file is any bytes (an umlaut in Latin-1).
"""

import os
from itertools import groupby
from typing import Annotated, Self
from urllib.parse import quote, unquote_to_bytes

from pydantic import Field, TypeAdapter

from client.imaging.grid import Scan
from client.imaging.segments import Segments
from client.imaging.stacks import Stack
from shared.section import Section


class Request(Section):
    """What is asked about one file.

    `frames` are those to decode, of the file whose SHA-256 is `content`; None asks for the header.
    """

    path: str
    content: str = ""
    frames: tuple[int, ...] | None = None

    @classmethod
    def about(cls, file: str, *, content: str = "", frames: tuple[int, ...] | None = None) -> Self:
        """The request for a file by its name in the folder."""
        return cls(path=quote(os.fsencode(file)), content=content, frames=frames)

    @property
    def file(self) -> str:
        """The name of the file, as the system spells it."""
        return os.fsdecode(unquote_to_bytes(self.path))


class StackRequest(Section):
    """What is asked for one volume: its frames in their order, and where they lie (`stacks.Stack`)."""

    files: Annotated[tuple[Request, ...], Field(min_length=1)]
    scan: Scan
    shifts_mm: tuple[tuple[float, float], ...] = ()

    @classmethod
    def about(cls, stack: Stack) -> Self:
        """The request for a stack; frames of one file that follow each other are asked for together."""
        runs = groupby(stack.pieces, key=lambda piece: (piece.file, piece.content))
        files = (
            Request.about(file, content=content, frames=tuple(piece.frame for piece in run))
            for (file, content), run in runs
        )
        return cls(files=tuple(files), scan=stack.scan, shifts_mm=stack.shifts_mm)


class MaskRequest(Section):
    """What is asked for the mask of one volume: the file that has it, and where the volume's slices lie."""

    mask: Request
    segments: Segments
    scan: Scan
    shifts_mm: tuple[tuple[float, float], ...] = ()


Asked = Request | StackRequest | MaskRequest
_ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)


def read_request(line: bytes) -> Asked:
    """A request from its line."""
    return _ASKED.validate_json(line)
