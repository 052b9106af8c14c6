"""Masks of DICOM exams as DICOM SEG, beside the answers.

An object repeats its exam's header. It is read again from the file, and only if its bytes are those that the decoder
read within its limits. Images of one series, size and orientation share an object; an exam of several has as many. One
whose headers lack what an object needs has none, and is counted.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from client.imaging.outline import Mask
from client.imaging.segmentation_object import SegmentationWords, SegmentedFrame, Source, segmentation_object, source_of
from client.prediction import place_of
from client.read_exam import ReadExam
from shared.durable import write_atomically
from shared.model_card import RESEARCH_ONLY, ModelCard


class DicomSegmentations:
    """Writes the objects of a run.

    Args:
        folder: the images.
        out: the folder of the answers.
        card: the model's.
        now: the time.

    Attributes:
        written: objects.
        missing: exams without one.
    """

    def __init__(self, folder: Path, out: Path, *, card: ModelCard, now: Callable[[], datetime]) -> None:
        self._folder, self._out, self._card, self._now = folder, out, card, now
        self.written = self.missing = 0

    def write(self, exam: ReadExam, masks: Sequence[Mask]) -> tuple[str, ...]:
        """Write the masks of an exam's images, one each; returns the names of the files."""
        try:
            objects = [segmentation_object(images, self._words()) for images in self._grouped(exam, masks)]
        except Exception:  # whatever a header that nobody vouches for brings about
            self.missing += 1
            return ()
        answer, names = place_of(self._out, exam.name), []
        answer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, data in enumerate(objects, 1):
            place = answer.with_suffix(f".seg-{number}.dcm" if number > 1 else ".seg.dcm")
            write_atomically(place, data, mode=0o600)
            names.append(place.name)
        self.written += len(names)
        return tuple(names)

    def _grouped(self, exam: ReadExam, masks: Sequence[Mask]) -> list[list[SegmentedFrame]]:
        """By what one object shares."""
        found: dict[tuple[object, ...], list[SegmentedFrame]] = defaultdict(list)
        for one in self._frames(exam, masks):
            found[one.shared].append(one)
        return list(found.values())

    def _frames(self, exam: ReadExam, masks: Sequence[Mask]) -> Iterator[SegmentedFrame]:
        source = cache(self._source)
        for seen, mask in zip(exam.images, masks, strict=True):
            for piece, plane in zip(seen.pieces, mask.reshape(-1, *mask.shape[-2:]), strict=True):
                yield SegmentedFrame(source(piece.file, piece.content), piece.frame, plane)

    def _source(self, file: str, content: str) -> Source:
        data = (self._folder / file).read_bytes()
        if sha256(data).hexdigest() != content:
            raise ValueError("other bytes than the decoder read")
        return source_of(data)

    def _words(self) -> SegmentationWords:
        return SegmentationWords(
            notice=RESEARCH_ONLY,
            structures=self._card.inputs.task.classes,
            model=self._card.weights.sha256,
            study=self._card.origin.study,
            version=version("wardround"),
            made=self._now(),
        )
