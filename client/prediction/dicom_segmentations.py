"""Masks of DICOM exams as DICOM SEG, beside the answers.

An object repeats its exam's header. It is read again from the file, and only if its bytes are those that the decoder
read within its limits. Images of one series, size and orientation share an object; an exam of several has as many. One
whose headers lack what an object needs has none, and is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from client.imaging.outline import Mask
from client.imaging.segmentation_object import SegmentationWords, SegmentedFrame, Source, segmentation_object, source_of
from client.prediction.answer import place_of
from client.prediction.read_exam import ReadExam
from shared.durable import write_atomically
from shared.errors import ResourceError, WardroundError
from shared.model_card import RESEARCH_ONLY, ModelCard

NO_OBJECT = "the headers of its images lack what a DICOM SEG needs"


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
        """Write the masks of an exam's images, one each.

        Returns:
            The names of the files; none where `NO_OBJECT` holds.

        Raises:
            ResourceError: a file has changed while it was read.
        """
        try:
            objects = [segmentation_object(images, self._words()) for images in self._grouped(exam, masks)]
        except WardroundError:
            raise
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
        found: list[list[SegmentedFrame]] = []
        for one in self._frames(exam, masks):
            group = next((group for group in found if group[0].goes_with(one)), None)
            if group is None:
                found.append(group := [])
            group.append(one)
        return found

    def _frames(self, exam: ReadExam, masks: Sequence[Mask]) -> Iterator[SegmentedFrame]:
        source = cache(self._source)
        for seen, mask in zip(exam.images, masks, strict=True):
            for piece, plane in zip(seen.pieces, mask.reshape(-1, *mask.shape[-2:]), strict=True):
                yield SegmentedFrame(source(piece.file, piece.content), piece.frame, plane)

    def _source(self, file: str, content: str) -> Source:
        try:
            data = (self._folder / file).read_bytes()
        except OSError:
            data = b""
        if sha256(data).hexdigest() != content:
            raise ResourceError("An image changed while it was read.", remedy="Run it again when nobody writes there.")
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
