"""What an exam takes of this process's memory, by its headers alone, and how much that may be.

Decides before a voxel is read: a compressed file of some hundred kilobytes may hold half a billion voxels. An exam may
take as much here as its decoder may (`decoder.Limits`), or half of what is ours if that is less.
"""

import math

from client.imaging.decoder import LIMITS
from client.imaging.exams import Exam, ExamFile
from client.imaging.memory import memory_bytes
from shared.images import ImageSpec

_OF_MASKS = 4  # bytes for each place of a scan's own: the mask, and what a file is made of


def most_exam_bytes() -> int:
    """Bytes that the images and masks of one exam may take together."""
    return min(LIMITS.memory_bytes, memory_bytes() // 2)


def exam_bytes(exam: Exam, images: ImageSpec, *, masks: bool) -> int:
    """Bytes that an exam takes: its images on the model's grid, and their masks on its own where its headers say it.

    Args:
        exam: as it was found.
        images: what the model sees.
        masks: whether it finds masks.
    """
    if images.slices:
        seen = len({file.facts.series or file.file for file in exam.files})  # few hold more than one volume
    else:
        seen = sum(file.facts.frames for file in exam.files)
    return 2 * seen * math.prod(images.shape) + _OF_MASKS * masks * sum(map(_own_places, exam.files))


def _own_places(file: ExamFile) -> int:
    if file.facts.lattice is not None:
        return math.prod(file.facts.lattice.counts)
    return sum(math.prod(plane.counts) for plane in file.facts.planes)
