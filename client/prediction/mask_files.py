"""Masks beside the answers, as files of their own: PNG of a picture, compressed NIfTI of a volume, or DICOM SEG.

A mask lies on its image's own grid and is written before the answer that names it, for this account alone. Of one
structure it is white in a PNG, so that people see it, and 1 in NIfTI; of several, value n is the n-th of the study's.
How large the structures are is counted here, too.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from client.imaging.kinds import FolderKind
from client.imaging.outline import Mask
from client.prediction.answer import Prediction, Structure, place_of
from client.prediction.dicom_segmentations import NO_OBJECT, DicomSegmentations
from client.prediction.read_exam import ReadExam, Seen
from shared.durable import write_atomically
from shared.errors import ResourceError
from shared.model_card import RESEARCH_ONLY, ModelCard

_UL_PER_ML = 1000  # mm3


@dataclass(frozen=True)
class Outlined:
    """What is told of an exam's masks: the structures, and the names of the files, or why those are missing."""

    structures: tuple[Structure, ...]
    files: tuple[str, ...]
    missing: str | None = None


class MaskFiles:
    """Writes the masks of a run.

    Args:
        folder: the images.
        out: the folder of the answers.
        kind: of the images.
        card: the model's.
        segmentations: writes those of DICOM exams, where that is asked for.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        *,
        kind: FolderKind,
        card: ModelCard,
        segmentations: DicomSegmentations | None = None,
    ) -> None:
        self._folder, self._out, self._kind, self._card = folder, out, kind, card
        self._segmentations = segmentations
        self._words = f"{RESEARCH_ONLY}; model {card.weights.sha256[:16]}"

    def write(self, exam: ReadExam, masks: Sequence[Mask]) -> Outlined:
        """Write the masks of an exam's images, one each, and count.

        Raises:
            ResourceError: a file has changed while it was read.
        """
        files = self._written(exam, masks) if self._segmentations is None else self._segmentations.write(exam, masks)
        missing = None if files or self._segmentations is None else NO_OBJECT
        return Outlined(structures_in(masks, exam.images, self._card.inputs.task.classes), files, missing)

    def whole(self, said: Prediction) -> bool:
        """Whether all masks that an answer should have lie beside it, or it says why it has none."""
        folder = place_of(self._out, said.exam).parent
        asked = self._kind != "dicom" or self._segmentations is not None
        there = bool(said.masks or said.masks_missing) or not asked
        return there and all((folder / name).is_file() for name in said.masks)

    def _written(self, exam: ReadExam, masks: Sequence[Mask]) -> tuple[str, ...]:
        data, ending = self._encoded(exam, masks)
        if data is None:
            return ()
        answer = place_of(self._out, exam.name)
        answer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = answer.with_suffix(ending)
        write_atomically(place, data, mode=0o600)
        return (place.name,)

    def _encoded(self, exam: ReadExam, masks: Sequence[Mask]) -> tuple[bytes | None, str]:
        if self._kind == "pictures":
            return self._png(masks[0]), ".mask.png"
        if self._kind == "nifti":
            from client.imaging.nifti_mask import nifti_mask  # a second to import

            whole = masks[0] if len(masks) == 1 else np.stack(masks)
            return nifti_mask(self._read_again(exam), whole, words=self._words), ".mask.nii.gz"
        return None, ""

    def _png(self, mask: Mask) -> bytes:
        told, file = PngInfo(), io.BytesIO()
        told.add_text("Comment", self._words)
        white = 255 if len(self._card.inputs.task.classes) == 1 else 1
        Image.fromarray(mask * np.uint8(white)).save(file, format="PNG", pnginfo=told)
        return file.getvalue()

    def _read_again(self, exam: ReadExam) -> bytes:
        """The bytes that the decoder read within its limits."""
        (file,) = exam.files
        data = (self._folder / file.file).read_bytes()
        if sha256(data).hexdigest() != file.sha256:
            raise ResourceError("An image changed while it was read.", remedy="Run it again when nobody writes there.")
        return data


def structures_in(masks: Sequence[Mask], images: Sequence[Seen], names: Sequence[str]) -> tuple[Structure, ...]:
    """How large each structure is over an exam's images."""
    voxels_ul = [float(np.prod(image.scan.spacing_mm)) if image.scan else None for image in images]
    return tuple(_structure(masks, voxels_ul, number, name) for number, name in enumerate(names, 1))


def _structure(masks: Sequence[Mask], voxels_ul: Sequence[float | None], number: int, name: str) -> Structure:
    counts = [sum(int((plane == number).sum()) for plane in mask) for mask in masks]  # by plane, or by row
    known = [count * voxel / _UL_PER_ML for count, voxel in zip(counts, voxels_ul, strict=True) if voxel is not None]
    if len(known) == len(counts):
        return Structure(name=name, volume_ml=round(sum(known), 6), found=any(counts))
    return Structure(name=name, area_px=sum(counts), found=any(counts))
