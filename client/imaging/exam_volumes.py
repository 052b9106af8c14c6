"""The volumes of an exam: each file that holds one, or the parallel images of each series.

Decides as a study of volumes does (`series`, `stacks`), without a table of labels: what befalls a volume befalls all
its files. Images that make none are set aside by reason.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from client.imaging.decoder import Decoder
from client.imaging.exams import Exam, ExamFile
from client.imaging.form import Pixels
from client.imaging.planes import Plane, Vector
from client.imaging.reasons import Reason, SetAside
from client.imaging.stacks import Piece, Stack, stack_of


@dataclass(frozen=True)
class Volume:
    """One volume on the study's grid, of which files and frames, and what it was as a scan."""

    files: tuple[ExamFile, ...]
    pixels: Pixels = field(repr=False)
    stack: Stack


def volumes_of(exam: Exam, decoder: Decoder) -> Iterator[Volume | tuple[tuple[ExamFile, ...], Reason]]:
    """Each volume of an exam, or the files that make none, and why."""
    for files, found in _stacks(exam):
        pixels = found if isinstance(found, Reason) else _decoded(files, found, decoder)
        if isinstance(pixels, Reason) or isinstance(found, Reason):
            yield files, pixels if isinstance(pixels, Reason) else Reason.UNREADABLE
        else:
            yield Volume(files, pixels, found)


def _decoded(files: Sequence[ExamFile], stack: Stack, decoder: Decoder) -> Pixels | Reason:
    if files[0].facts.scan is None:
        return decoder.volume(stack)
    return next(decoder.pixels(files[0].file, content=files[0].content, frames=[0]))


def _stacks(exam: Exam) -> Iterator[tuple[tuple[ExamFile, ...], Stack | Reason]]:
    series: dict[str, list[ExamFile]] = defaultdict(list)
    for file in exam.files:
        if file.facts.scan is not None:
            yield (file,), Stack((Piece(file.file, file.content),), file.facts.scan)
        else:
            series[file.facts.series or file.file].append(file)
    for files in series.values():
        for pile in _piles(files):
            used = tuple({file.file: file for file, _, _ in pile}.values())
            plane = pile[0][0].facts.planes[pile[0][1].frame]
            try:
                yield used, stack_of(plane, [(piece, at) for _, piece, at in pile])
            except SetAside as error:
                yield used, error.reason


def _piles(files: Sequence[ExamFile]) -> list[list[tuple[ExamFile, Piece, Vector]]]:
    """The images of a series, those that are parallel together."""
    piles: list[tuple[Plane, list[tuple[ExamFile, Piece, Vector]]]] = []
    for file in files:
        for frame, plane in enumerate(file.facts.planes):
            pile = next((found for first, found in piles if first.parallel(plane)), None)
            if pile is None:
                piles.append((plane, pile := []))
            pile.append((file, Piece(file.file, file.content, frame), plane.position_mm))
    return [pile for _, pile in piles]
