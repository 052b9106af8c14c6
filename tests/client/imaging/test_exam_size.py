"""What an exam takes of memory is known from its headers, and one that takes too much is not decoded."""

import math
import tracemalloc

import numpy as np

from client.imaging.decoder import LIMITS, Decoder
from client.imaging.exam_size import exam_bytes, most_exam_bytes
from client.imaging.exams import Exam, ExamFile
from client.imaging.form import Facts
from client.imaging.lattice import Lattice
from client.imaging.memory import memory_bytes
from client.imaging.outline import outline
from client.imaging.planes import Plane
from client.imaging.reasons import Reason
from client.prediction.read_exam import read_exam
from shared.images import ImageSpec

VAST = (1, 108, 2048, 2048)  # 453 million voxels, of zeros some hundred kilobytes as a file
AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
VOLUMES = ImageSpec(slices=16, size_px=32)


def exam(*facts: Facts) -> Exam:
    return Exam("exam", [ExamFile(f"{number}.nii.gz", "0" * 64, one) for number, one in enumerate(facts)])


def of_a_file(counts: tuple[int, int, int, int] = VAST) -> Facts:
    return Facts(frames=counts[0] * counts[1], lattice=Lattice(counts, (0.0, 0.0, 0.0), AXES))


def test_a_scan_costs_its_own_places_where_masks_are_asked_for() -> None:
    places = 16 * 32 * 32
    seen, through = 2 * places, 4 * (1 + 4 * 3) * places
    assert exam_bytes(exam(of_a_file()), VOLUMES, outputs=0) == seen + 4 * places
    assert exam_bytes(exam(of_a_file()), VOLUMES, outputs=3) == seen + through + 4 * math.prod(VAST)
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0), (512, 256))
    series = exam(*[Facts(series="1.2", planes=(plane,))] * 10)
    assert exam_bytes(series, VOLUMES, outputs=3) == seen + through + 10 * 4 * 512 * 256


def test_every_slice_that_is_seen_alone_counts() -> None:
    assert exam_bytes(exam(of_a_file()), ImageSpec(size_px=512), outputs=0) == (108 * 2 + 4) * 512**2


def test_what_a_mask_takes_on_its_way_is_counted() -> None:
    """Beside the logits, which come as they are counted with the network's outputs."""
    logits = np.random.default_rng(1).normal(size=(9, 24, 24, 24)).astype(np.float32)
    images = ImageSpec(slices=24, size_px=24)
    counted = exam_bytes(exam(of_a_file((1, 24, 24, 24))), images, outputs=9)
    tracemalloc.start()
    outline(logits, iter, shape=(24, 24, 24), several=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert logits.nbytes < most < 1.5 * logits.nbytes  # one copy, and little else
    assert logits.nbytes + most < counted


def test_one_that_is_too_large_is_set_aside_undecoded() -> None:
    no_decoder = Decoder(["/nothing/that/could/be/started"])
    found = read_exam(exam(of_a_file()), no_decoder, VOLUMES, outputs=1, most_bytes=2**30)
    assert found.images == [] and found.set_aside == {Reason.MEMORY_LIMIT: 1}
    assert [file.images for file in found.files] == [0]


def test_an_exam_may_take_as_much_as_a_decoder_or_half_of_the_memory() -> None:
    assert 0 < most_exam_bytes() <= min(LIMITS.memory_bytes, memory_bytes() // 2)
