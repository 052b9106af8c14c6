"""The process that decodes: reads files that nobody vouches for, and may be killed over any of them.

    python -m client.imaging.decoding dicom FOLDER SECONDS BYTES IMAGES

Decides what a decoder may take from the machine, before it meets the first file: memory, processor time, no
new bytes in any file, no core dump, few open files, and no line in anybody's log, because decoders quote values
of the header. Whom to kill, and when, is left to `decoder`, which asks here in lines of JSON.
"""

import dataclasses
import logging
import os
import resource
import stat
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from client.imaging.form import MAX_FILE_BYTES, Format, Pixels, Placing, Stacking
from client.imaging.reasons import Reason, SetAside
from client.imaging.requests import Asked, MaskRequest, Request, StackRequest, read_request
from shared.canonical import canonical, digest
from shared.images import ImageSpec

_OPEN_FILES = 64


def serve(form: Format, folder: Path, *, seconds: int, memory_bytes: int) -> None:
    """Answer requests on standard input until it ends.

    Args:
        form: the format of the files.
        folder: what their names count from.
        seconds: of processor time for a header, or a frame.
        memory_bytes: of address space, where the system limits it.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _fall_silent()
    _take_little(memory_bytes)
    for line in sys.stdin.buffer:
        _renew_time(seconds)
        _answer(form, _Reader(folder), read_request(line), replies, seconds)
        replies.flush()


class _Reader:
    """Reads the files of one request.

    Attributes:
        content: SHA-256 (hex) of the last one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.content = ""

    def __call__(self, request: Request) -> bytes:
        """A file's bytes.

        Raises:
            SetAside: it is no file within the limits, or has changed since it was catalogued.
        """
        data = _read(self._folder / request.file)
        self.content = digest(data)
        if request.frames is not None and self.content != request.content:
            raise SetAside(Reason.UNREADABLE)
        return data


def _answer(form: Format, read: _Reader, request: Asked, replies: BinaryIO, seconds: int) -> None:
    """Lines and pixels; a line with a reason is the last."""
    try:
        if isinstance(request, StackRequest):
            _send_volume(form, read, request, replies, seconds)
        elif isinstance(request, MaskRequest):
            _send(_mask(form, read, request), replies, seconds)
        elif request.frames is None:
            facts = dataclasses.asdict(form.facts(read(request)))
            replies.write(canonical({"content": read.content, "facts": facts}) + b"\n")
        else:
            _send(form.pixels(read(request), request.frames), replies, seconds)
    except SetAside as error:
        _refuse(read.content, error.reason, replies)
    except MemoryError:
        _refuse(read.content, Reason.MEMORY_LIMIT, replies)
    except Exception:  # decoders meet hostile bytes with every kind of it; each costs this file only
        _refuse(read.content, Reason.UNREADABLE, replies)


def _send_volume(form: Format, read: _Reader, request: StackRequest, replies: BinaryIO, seconds: int) -> None:
    """A line after each frame, so that whoever waits knows that it goes on; then the volume."""
    if not isinstance(form, Stacking):
        raise SetAside(Reason.UNREADABLE)
    files = ((read(one), one.frames or ()) for one in request.files)
    for volume in form.stacked(files, request.scan, request.shifts_mm):
        if volume is None:
            _renew_time(seconds)
            replies.write(canonical({"taken": True}) + b"\n")
            replies.flush()
        else:
            _send(iter([volume]), replies, seconds)


def _mask(form: Format, read: _Reader, request: MaskRequest) -> Iterator[Pixels]:
    if not isinstance(form, Placing):
        raise SetAside(Reason.UNREADABLE)
    return form.placed(read(request.mask), request.segments, request.scan, request.shifts_mm)


def _send(images: Iterator[Pixels], replies: BinaryIO, seconds: int) -> None:
    for pixels in images:
        _renew_time(seconds)  # for the next one
        replies.write(canonical({"shape": list(pixels.shape)}) + b"\n")
        replies.write(np.ascontiguousarray(pixels, dtype="<u2").tobytes())
        replies.flush()


def _refuse(content: str, reason: Reason, replies: BinaryIO) -> None:
    replies.write(canonical({"content": content, "reason": reason.value}) + b"\n")


def _read(path: Path) -> bytes:
    """The bytes of a regular file within the limit; a pipe or device is not waited for."""
    try:
        return _read_permitted(path)
    except PermissionError:
        raise SetAside(Reason.NOT_PERMITTED) from None


def _read_permitted(path: Path) -> bytes:
    if path.is_dir():  # `files_under` names none but those in which it does not look
        raise SetAside(Reason.FOLDER_LINK if path.is_symlink() else Reason.NOT_PERMITTED)
    if not path.is_file():  # to open a device may already do something
        raise SetAside(Reason.NOT_AN_IMAGE)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        is_now = os.fstat(file.fileno())
        if not stat.S_ISREG(is_now.st_mode):
            raise SetAside(Reason.NOT_AN_IMAGE)
        if is_now.st_size > MAX_FILE_BYTES:
            raise SetAside(Reason.TOO_LARGE)
        data = file.read(is_now.st_size + 1)
    if len(data) != is_now.st_size:  # it grows, or is one of /proc, which have no size
        raise SetAside(Reason.UNREADABLE)
    return data


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


def _form(source: str, images: ImageSpec) -> Format:
    # Each library is loaded only where its files are read: every one of them takes time and address space.
    if source == "nifti":
        from client.imaging.nifti import Nifti, NiftiVolumes

        return Nifti(images.hu) if images.slices is None else NiftiVolumes(images)
    if source == "nifti_masks":
        from client.imaging.nifti_masks import NiftiMasks

        return NiftiMasks(images)
    if source == "pictures":
        from client.imaging.pictures import Picture

        return Picture()
    if source == "dicom_masks":
        from client.imaging.dicom_image_masks import DicomImageMasks
        from client.imaging.dicom_masks import DicomMasks

        return DicomImageMasks() if images.slices is None else DicomMasks(images)
    from client.imaging.dicom import Dicom
    from client.imaging.dicom_volume import DicomVolumes

    return Dicom(images.hu) if images.slices is None else DicomVolumes(images)


def main(arguments: Sequence[str]) -> None:
    """Decode for whoever started this process."""
    source, folder, seconds, memory_bytes, images = arguments
    form = _form(source, ImageSpec.model_validate_json(images))
    serve(form, Path(folder), seconds=int(seconds), memory_bytes=int(memory_bytes))


if __name__ == "__main__":
    main(sys.argv[1:])
