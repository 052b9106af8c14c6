"""The hold on the process that decodes: start, ask, wait no longer than the limit, kill, go on.

Decides what a file costs that hangs or crashes its decoder: that file alone, by reason. What the
process may take from the machine is left to `decoding`; what it says is bounded and checked here, because the
bytes that it read are nobody's.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import psutil
from pydantic import ValidationError

from client.imaging.form import MAX_PIXELS, Facts, Pixels
from client.imaging.reasons import Reason
from client.imaging.requests import Asked, MaskRequest, Request, StackRequest
from client.imaging.segments import Segments
from client.imaging.stacks import Stack
from shared.fields import Digest
from shared.images import ImageSpec
from shared.section import Section

_LINE_BYTES = 4 * 2**20  # a header with the planes of `MAX_FRAMES` frames
_CHUNK_BYTES = 2**20
_LOOK_S = 0.5  # from one look at a process that is late to the next


@dataclass(frozen=True)
class Limits:
    """What one file may take.

    Attributes:
        seconds: until the header, or the next frame, is there, unless the process waits for a core or the disk.
        file_seconds: until the last frame of a file is there.
        memory_bytes: address space of the process; held on Linux.
    """

    seconds: int = 60
    file_seconds: int = 600
    memory_bytes: int = 4 * 2**30


LIMITS = Limits()


# One thread: numpy's and torch's pools would take the address space that the image may need.
_ENV = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Reply(Section):
    """One line of the decoding process: a header, the shape of the pixels that follow, or why there are none.

    `taken` says that one more frame is in the volume to come.
    """

    content: Digest | Literal[""] = ""
    facts: Facts | None = None
    shape: tuple[int, ...] | None = None
    taken: bool = False
    reason: Reason | None = None


class _Lost(Exception):
    """The process is gone, or said what it must not."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Decoder:
    """Decodes the files of one folder, in a process that is replaced after each file that kills it.

    Args:
        command: what to start, as `decoding_command` gives it.
        limits: what one file may take.
        volume: the shape that every image has, in a study of volumes.
    """

    def __init__(
        self, command: Sequence[str], limits: Limits = LIMITS, *, volume: tuple[int, ...] | None = None
    ) -> None:
        self._command = command
        self._limits = limits
        self._volume = volume
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def facts(self, file: str) -> tuple[str, Facts | Reason]:
        """What a file's header says, or why it is no image; and the SHA-256 (hex) of its bytes, if they were read."""
        (said,) = self.ask_facts(file)
        return said

    def ask_facts(self, file: str) -> Iterator[tuple[str, Facts | Reason]]:
        """Ask for `facts`; listen when the answer is taken."""
        self._ask(Request.about(file))
        return self._facts()

    def pixels(self, file: str, *, content: str, frames: Sequence[int]) -> Iterator[Pixels | Reason]:
        """Ask for each frame of a file for its pixels, or why it has none; listen when they are taken.

        Args:
            file: its name in the folder.
            content: SHA-256 (hex) of what it holds, as `facts` found it.
            frames: which, counted from 0.
        """
        self._ask(Request.about(file, content=content, frames=tuple(frames)))
        return self._images(len(frames))

    def volume(self, stack: Stack) -> Pixels | Reason:
        """The volume of many frames, or why there is none."""
        (found,) = self.ask_volume(stack)
        return found

    def ask_volume(self, stack: Stack) -> Iterator[Pixels | Reason]:
        """Ask for `volume`; listen when the answer is taken."""
        self._ask(StackRequest.about(stack))
        return self._volume_of(len(stack.pieces))

    def end(self) -> None:
        """End the process, whatever it does."""
        child, self._child = self._child, None
        self._buffer.clear()
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()

    def _facts(self) -> Iterator[tuple[str, Facts | Reason]]:
        try:
            reply = self._reply(self._deadline())
            said = (reply.content, reply.reason or reply.facts or Reason.UNREADABLE)
        except _Lost as lost:
            said = ("", lost.reason)
        yield said

    def _images(self, left: int) -> Iterator[Pixels | Reason]:
        last = time.monotonic() + self._limits.file_seconds
        try:
            while left:
                yield self._image(min(last, self._deadline()))
                left -= 1
        except _Lost as lost:
            yield from [lost.reason] * left

    def _volume_of(self, pieces: int) -> Iterator[Pixels | Reason]:
        last = time.monotonic() + self._limits.file_seconds
        try:
            for _ in range(pieces):
                reply = self._reply(min(last, self._deadline()))
                if not reply.taken:
                    raise _Lost(reply.reason) if reply.reason else self._lose(Reason.UNREADABLE)
            found: Pixels | Reason = self._image(min(last, self._deadline()))
        except _Lost as lost:
            found = lost.reason
        yield found

    def mask(self, stack: Stack, segments: Segments, *, file: str, content: str) -> Pixels | Reason:
        """The mask of a volume from a segmentation, whose SHA-256 (hex) is `content`, or why there is none."""
        named = Request.about(file, content=content, frames=())
        try:
            self._ask(MaskRequest(mask=named, segments=segments, scan=stack.scan, shifts_mm=stack.shifts_mm))
            return self._image(time.monotonic() + self._limits.file_seconds)
        except _Lost as lost:
            return lost.reason

    def _ask(self, request: Asked) -> None:
        if self._child is None:
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_ENV
            )
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # a process that is gone is noticed by whoever listens
            self._child.stdin.write(request.model_dump_json().encode() + b"\n")
            self._child.stdin.flush()

    def _image(self, deadline: float) -> Pixels:
        """The next frame.

        Raises:
            _Lost: there is none, or none after it.
        """
        reply = self._reply(deadline)
        if reply.reason is not None:
            raise _Lost(reply.reason)
        if reply.shape is None or not self._plausible(reply.shape):
            raise self._lose(Reason.UNREADABLE)
        size = 2 * int(np.prod(reply.shape))
        while len(self._buffer) < size:
            self._listen(deadline)
        data = self._buffer[:size]
        del self._buffer[:size]
        return np.frombuffer(data, dtype="<u2").reshape(reply.shape)

    def _reply(self, deadline: float) -> _Reply:
        while (end := self._buffer.find(b"\n")) < 0 and len(self._buffer) <= _LINE_BYTES:
            self._listen(deadline)
        try:
            reply = _Reply.model_validate_json(bytes(self._buffer[: max(end, 0)]))
        except ValidationError:
            raise self._lose(Reason.UNREADABLE) from None
        del self._buffer[: end + 1]
        return reply

    def _listen(self, deadline: float) -> None:
        """Take what the process says next.

        Raises:
            _Lost: it has ended, or says nothing until the deadline and does nothing.
        """
        assert self._child is not None and self._child.stdout is not None
        give_up = deadline + self._limits.file_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while not selector.select(max(0.0, deadline - time.monotonic())):
                if not self._at_work() or time.monotonic() > give_up:
                    raise self._lose(Reason.DECODER_HUNG)
                deadline = time.monotonic() + _LOOK_S
        said = os.read(self._child.stdout.fileno(), _CHUNK_BYTES)
        if not said:
            spun = self._child.wait(self._limits.seconds) == -signal.SIGXCPU
            raise self._lose(Reason.DECODER_HUNG if spun else Reason.DECODER_CRASHED)
        self._buffer += said

    def _at_work(self) -> bool:
        """Whether the process has a core or the disk, or waits for one: on a busy machine, both can take long.

        One that spins meets its own limit, of processor time.
        """
        assert self._child is not None
        with suppress(psutil.Error):
            return psutil.Process(self._child.pid).status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
        return False

    def _plausible(self, shape: tuple[int, ...]) -> bool:
        if self._volume is not None:
            return shape == self._volume
        pixels, channels = shape[:2], shape[2:]
        return len(pixels) == 2 and min(pixels) > 0 and pixels[0] * pixels[1] <= MAX_PIXELS and channels in ((), (3,))

    def _deadline(self) -> float:
        return time.monotonic() + self._limits.seconds

    def _lose(self, reason: Reason) -> _Lost:
        self.end()
        return _Lost(reason)


def decoding_command(
    source: str, folder: Path, limits: Limits = LIMITS, *, images: ImageSpec | None = None
) -> tuple[str, ...]:
    """What decodes images (dicom, nifti, pictures) or masks (dicom_masks, nifti_masks) in a folder, for a study."""
    most = (str(limits.seconds), str(limits.memory_bytes), (images or ImageSpec()).model_dump_json())
    # -P: a module that lies among the images is not imported.
    return (sys.executable, "-P", "-m", "client.imaging.decoding", source, str(folder), *most)
