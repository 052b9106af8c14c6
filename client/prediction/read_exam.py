"""An exam as a released model sees it: its images in the network's shape, and how to come back from there.

Decides what is kept of each image beside its pixels: of which files and frames it was made, and which places it has of
its own. A file that cannot be used costs itself and is counted by reason.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from client.imaging.clinical import Clinical
from client.imaging.decoder import Decoder
from client.imaging.exam_size import exam_bytes
from client.imaging.exam_volumes import Volume, volumes_of
from client.imaging.exams import Exam, ExamFile, images_of
from client.imaging.fit import fit, unfit
from client.imaging.form import Pixels
from client.imaging.from_grid import from_grid
from client.imaging.grid import Scan
from client.imaging.outline import Own
from client.imaging.reasons import Reason
from client.imaging.stacks import Piece
from client.prediction.answer import ReadFile
from shared.images import ImageSpec


@dataclass(frozen=True)
class Seen:
    """One image.

    Attributes:
        image: (channels, *grid), as the network takes it.
        pieces: the files and frames that it was made of.
        scan: the voxels of the volume that it is, or is a slice of; None where there is none.
        own: brings what was said of each place of the network's grid to the image's own places, plane by plane.
        shape: of its own places, (rows, columns) or (planes, rows, columns).
    """

    image: NDArray[np.uint16] = field(repr=False)
    pieces: tuple[Piece, ...] = field(repr=False)
    scan: Scan | None
    own: Own = field(repr=False)
    shape: tuple[int, ...]


@dataclass
class ReadExam:
    """One exam's files, its images, and what is known beside them."""

    name: str = field(repr=False)
    files: list[ReadFile] = field(default_factory=list)
    images: list[Seen] = field(default_factory=list)
    set_aside: Counter[Reason] = field(default_factory=Counter)
    clinical: Clinical = field(default_factory=dict, repr=False)


def read_exam(exam: Exam, decoder: Decoder, spec: ImageSpec, *, outputs: int, most_bytes: int) -> ReadExam:
    """Decode an exam's files for a model.

    Args:
        exam: as it was found.
        decoder: of its folder.
        spec: what the model sees.
        outputs: how many it says of each place, if it finds masks; else 0.
        most_bytes: what the exam may take; of one that by its headers takes more, nothing is decoded.
    """
    if exam_bytes(exam, spec, outputs=outputs) > most_bytes:
        files = [ReadFile(file=file.file, sha256=file.content, images=0) for file in exam.files]
        return ReadExam(exam.name, files, set_aside=Counter({Reason.MEMORY_LIMIT: len(files)}))
    return _with_slices(exam, decoder, spec) if spec.slices is None else _with_volumes(exam, decoder, spec)


def _with_slices(exam: Exam, decoder: Decoder, spec: ImageSpec) -> ReadExam:
    found = ReadExam(exam.name, clinical=exam.clinical)
    for file, images in images_of(exam, decoder, lambda pixels: _fitted(pixels, spec)):
        read = [] if isinstance(images, Reason) else images
        found.images += [_slice(*fitted, file, number) for number, fitted in enumerate(read)]
        found.files.append(ReadFile(file=file.file, sha256=file.content, images=len(read)))
        found.set_aside.update([images] if isinstance(images, Reason) else [])
    return found


def _fitted(pixels: Pixels, spec: ImageSpec) -> tuple[NDArray[np.uint16], tuple[int, int]]:
    height, width = pixels.shape[:2]
    return fit(pixels, spec), (height, width)


def _slice(image: NDArray[np.uint16], shape: tuple[int, int], file: ExamFile, frame: int) -> Seen:
    scan = file.facts.scan
    to = scan.counts[1:] if scan else shape
    return Seen(image, (Piece(file.file, file.content, frame),), scan, lambda said: [unfit(said, shape, to=to)], to)


def _with_volumes(exam: Exam, decoder: Decoder, spec: ImageSpec) -> ReadExam:
    found, used, reasons = ReadExam(exam.name, clinical=exam.clinical), Counter[str](), dict[str, Reason]()
    for one in volumes_of(exam, decoder):
        if isinstance(one, Volume):
            stack = one.stack
            own = partial(from_grid, scan=stack.scan, images=spec, shifts_mm=stack.shifts_mm)
            found.images.append(Seen(fit(one.pixels, spec), stack.pieces, stack.scan, own, stack.scan.counts))
            used.update(file.file for file in one.files)
        else:
            reasons |= {file.file: one[1] for file in one[0]}
    for file in exam.files:
        found.files.append(ReadFile(file=file.file, sha256=file.content, images=used[file.file]))
        if not used[file.file]:
            found.set_aside[reasons.get(file.file, Reason.UNREADABLE)] += 1
    return found
