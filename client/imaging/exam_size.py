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
_OF_OUTPUTS = 4  # float32 arrays of the network's outputs: summed by windows, their weights, the logits and the shares


def most_exam_bytes() -> int:
    """Bytes that the images and masks of one exam may take together."""
    return min(LIMITS.memory_bytes, memory_bytes() // 2)


def exam_bytes(exam: Exam, images: ImageSpec, *, outputs: int) -> int:
    """Bytes that an exam takes: its images on the model's grid, one of them on its way through the network, and their
    masks on its own places where its headers say it. What the layers between hold is not in it.

    Args:
        exam: as it was found.
        images: what the model sees.
        outputs: how many it says of each place, if it finds masks; else 0.
    """
    if images.slices:
        seen = len({file.facts.series or file.file for file in exam.files})  # few hold more than one volume
    else:
        seen = sum(file.facts.frames for file in exam.files)
    through = 4 * (images.channels + _OF_OUTPUTS * outputs) * math.prod(images.grid)
    own = sum(map(_own_places, exam.files)) if outputs else 0
    return 2 * seen * math.prod(images.shape) + through + _OF_MASKS * own


def _own_places(file: ExamFile) -> int:
    if file.facts.lattice is not None:
        return math.prod(file.facts.lattice.counts)
    return sum(math.prod(plane.counts) for plane in file.facts.planes)
