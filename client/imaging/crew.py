"""Several decoding processes at work at once, whose answers come in the order of the questions.

Decides how many there are, and who is asked next: each has one question, and none another before its answer was
taken, so that no more is held than one image on the way from each. What a file costs that ends its process is left to
`decoder`.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from client.imaging.decoder import LIMITS, Decoder, Limits
from client.imaging.form import Facts, Pixels
from client.imaging.memory import memory_bytes
from client.imaging.reasons import Reason
from client.imaging.stacks import Stack

T = TypeVar("T")
Answer = TypeVar("Answer")
_WORK_EACH = 24  # takes as long as a process takes to start
_PART_BYTES = 1 << 20  # of a file that is one part of the work, and so is a small file


class Crew:
    """Decodes the files of one folder; another process joins when there is work for one more.

    Args:
        command: what to start, as `decoding_command` gives it.
        folder: the files', to see how large they are.
        limits: what one file may take.
        volume: the shape that every image has, in a study of volumes.
        most: processes at once.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        limits: Limits = LIMITS,
        *,
        volume: tuple[int, ...] | None = None,
        most: int | None = None,
    ) -> None:
        self._command, self._folder, self._limits, self._volume = command, folder, limits, volume
        self._most = most or hands(limits)
        self._all: list[Decoder] = []
        self._free: list[Decoder] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for decoder in self._all:
            decoder.end()

    def facts(self, files: Iterable[str]) -> Iterator[tuple[str, Facts | Reason]]:
        """What `Decoder.facts` says of each file."""
        return self._in_order(Decoder.ask_facts, files, self._work)

    def pixels(self, files: Iterable[tuple[str, str, Sequence[int]]]) -> Iterator[Pixels | Reason]:
        """What `Decoder.pixels` gives of each file: its name in the folder, its content, and the frames."""
        slices = self._volume[0] if self._volume else 1
        return self._in_order(
            lambda decoder, file: decoder.pixels(file[0], content=file[1], frames=file[2]),
            files,
            lambda file: max(self._work(file[0]), len(file[2]) * slices),
        )

    def volumes(self, stacks: Iterable[Stack]) -> Iterator[Pixels | Reason]:
        """What `Decoder.volume` gives of each stack."""
        return self._in_order(Decoder.ask_volume, stacks, lambda stack: len(stack.pieces))

    def _in_order(
        self, ask: Callable[[Decoder, T], Iterator[Answer]], things: Iterable[T], work: Callable[[T], int]
    ) -> Iterator[Answer]:
        waiting: deque[tuple[Decoder, Iterator[Answer]]] = deque()
        asked = 0
        for thing in things:
            if len(waiting) == min(self._most, 1 + asked // _WORK_EACH):
                yield from self._taken(*waiting.popleft())
            decoder = self._someone()
            waiting.append((decoder, ask(decoder, thing)))
            asked += work(thing)
        while waiting:
            yield from self._taken(*waiting.popleft())

    def _work(self, file: str) -> int:
        """The parts of a file; one that is gone is the decoder's to find out."""
        try:
            return 1 + (self._folder / file).stat().st_size // _PART_BYTES
        except OSError:
            return 1

    def _someone(self) -> Decoder:
        if not self._free:
            self._free.append(Decoder(self._command, self._limits, volume=self._volume))
            self._all.append(self._free[-1])
        return self._free.pop()

    def _taken(self, decoder: Decoder, answers: Iterator[Answer]) -> Iterator[Answer]:
        yield from answers
        self._free.append(decoder)


def hands(limits: Limits = LIMITS) -> int:
    """How many processes this machine can feed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return fed(cores, memory=memory_bytes(), limits=limits)


def fed(cores: int, *, memory: int, limits: Limits) -> int:
    """How many processes a machine can feed: one for each core, and in half of its memory each with what it may take.

    Args:
        cores: that are ours.
        memory: bytes that are ours.
        limits: what one file may take.
    """
    return max(1, min(cores, memory // 2 // limits.memory_bytes))
