"""The process that decodes: reads files that nobody vouches for, and may be killed over any of them.

    python -m client.imaging.decoding dicom FOLDER SECONDS BYTES

Decides what a decoder may take from the machine, before it meets the first file: memory, processor time, no
new bytes in any file, no core dump, few open files, and no line in anybody's log, because decoders quote values
of the header. Whom to kill, and when, is left to `decoder`, which asks here in lines of JSON.
"""

import dataclasses
import logging
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from client.imaging.form import MAX_FILE_BYTES, Format, Pixels
from client.imaging.reasons import Reason, SetAside
from shared.canonical import canonical, digest
from shared.section import Section

_OPEN_FILES = 64


class Request(Section):
    """What is asked about one file.

    `frames` are those to decode, of the file whose SHA-256 is `content`; None asks for the header.
    """

    file: str
    content: str = ""
    frames: tuple[int, ...] | None = None


def serve(form: Format, folder: Path, *, seconds: int, memory_bytes: int) -> None:
    """Answer requests on standard input until it ends.

    Args:
        form: the format of the files.
        folder: what their names count from.
        seconds: of processor time for one request.
        memory_bytes: of address space, where the system limits it.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _fall_silent()
    _take_little(memory_bytes)
    for line in sys.stdin.buffer:
        _renew_time(seconds)
        _answer(form, folder, Request.model_validate_json(line), replies)
        replies.flush()


def _answer(form: Format, folder: Path, request: Request, replies: BinaryIO) -> None:
    """One line for a header, or one and the pixels for each frame; a line with a reason is the last."""
    content = ""
    try:
        data = _read(folder / request.file)
        content = digest(data)
        if request.frames is None:
            facts = dataclasses.asdict(form.facts(data))
            replies.write(canonical({"content": content, "facts": facts}) + b"\n")
        elif content != request.content:  # changed since it was catalogued
            _refuse(content, Reason.UNREADABLE, replies)
        else:
            _send(form.pixels(data, request.frames), replies)
    except SetAside as error:
        _refuse(content, error.reason, replies)
    except MemoryError:
        _refuse(content, Reason.MEMORY_LIMIT, replies)
    except Exception:  # decoders meet hostile bytes with every kind of it; each costs this file only
        _refuse(content, Reason.UNREADABLE, replies)


def _send(images: Iterator[Pixels], replies: BinaryIO) -> None:
    for pixels in images:
        replies.write(canonical({"shape": list(pixels.shape)}) + b"\n")
        replies.write(np.ascontiguousarray(pixels, dtype="<u2").tobytes())
        replies.flush()


def _refuse(content: str, reason: Reason, replies: BinaryIO) -> None:
    replies.write(canonical({"content": content, "reason": reason.value}) + b"\n")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SetAside(Reason.NOT_AN_IMAGE)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SetAside(Reason.TOO_LARGE)
    return path.read_bytes()


def _fall_silent() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def _take_little(memory_bytes: int) -> None:
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)


def _renew_time(seconds: int) -> None:
    # For a decoder that spins after its parent has gone; while there is one, it looks at the clock.
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _formats() -> dict[str, Callable[[], Format]]:
    from client.imaging.dicom import Dicom
    from client.imaging.pictures import Picture

    return {"dicom": Dicom, "pictures": Picture}


def main(arguments: Sequence[str]) -> None:
    """Decode for whoever started this process."""
    source, folder, seconds, memory_bytes = arguments
    serve(_formats()[source](), Path(folder), seconds=int(seconds), memory_bytes=int(memory_bytes))


if __name__ == "__main__":
    main(sys.argv[1:])
