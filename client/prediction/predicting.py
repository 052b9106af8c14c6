"""A released model over a folder: exam by exam, so that an interrupted run goes on where it stopped.

Decides the order (find, leave out what is answered, decode, compute in batches, write) and what is counted: every
file once, as used or by the reason that set it aside.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client.imaging.clinical import Missing
from client.imaging.clinical_table import ClinicalTable
from client.imaging.decoder import Decoder
from client.imaging.exam_size import most_exam_bytes
from client.imaging.exams import Exam, Found, find_exams
from client.imaging.outline import outline
from client.imaging.reasons import Reason
from client.imaging.rules import Rules
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction, called_of, findings_of, kept_answer, known_of, write_answer
from client.prediction.beside_answers import Beside
from client.prediction.mask_files import MaskFiles
from client.prediction.read_exam import ReadExam, Seen, read_exam
from client.prediction.released_model import ReleasedModel
from client.work.inferer import inferer
from shared.section import Section

BATCH = 64  # images at a time
_PLACES = 2**22  # at a time, of larger images, for each output of a mask; volumes come one by one
_EVERY = 100
Said = list[NDArray[Any]]  # of each image (outputs,) logits, or its mask


class Tally(Section):
    """What became of a folder.

    `files` are `used` and those of `set_aside`; `exams` are `predicted`, `kept` and `unread`. `kept` were answered by
    an earlier run; of `unread` no image could be decoded. `called` is by class, of the exams predicted now. `missing`
    is by clinical column, the exams of which no value is known, by reason.
    """

    files: int
    used: int
    set_aside: dict[str, int]
    exams: int
    predicted: int
    kept: int
    unread: int
    images: int
    called: dict[str, int]
    missing: dict[str, dict[str, int]]


def predict(
    model: ReleasedModel,
    *,
    folder: Path,
    command: Sequence[str],
    out: Path,
    rules: Rules,
    beside: Beside,
    clinical: ClinicalTable | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Answer every exam of a folder that is not answered yet.

    Args:
        model: checked.
        folder: the images.
        command: what decodes its files (`decoder.decoding_command`).
        out: the folder of the answers; made if need be.
        rules: which images are wanted.
        beside: what is written beside the answers; it hears each once it is written, and each that was there already.
        clinical: what is known beside the images, for a model that takes clinical columns.
        say: hears how far it is, now and then.

    Raises:
        ConfigError: `out` holds answers of another model.
    """
    called, counts = Counter[str](), Counter[str]()
    images = model.card.inputs.images
    with Decoder(command, volume=images.grid if images.slices else None) as decoder:
        found = find_exams(folder, decoder, rules=rules)
        if clinical is not None:
            for exam in found.exams:
                exam.clinical = clinical.of(exam.files)
        waiting = list(_unanswered(model, found, out, beside))
        limits = {"outputs": _outputs(model), "most_bytes": most_exam_bytes()}
        read = (read_exam(exam, decoder, images, **limits) for exam in waiting)
        for one, said in _computed(model, read):
            found.set_aside += one.set_aside
            counts.update({"images": len(one.images), "predicted" if one.images else "unread": 1})
            if one.images:
                answer = _answer(model, one, said, beside.masks)
                write_answer(out, answer)
                beside.hear(answer, one, said)
                called.update(called_of(answer))
            if (done := counts["predicted"] + counts["unread"]) % _EVERY == 0:
                say(f"{done:,} of {len(waiting):,} exams")
    return _tally(model, found, counts, called)


def _tally(model: ReleasedModel, found: Found, counts: Counter[str], called: Counter[str]) -> Tally:
    return Tally(
        files=found.files,
        used=found.files - found.set_aside.total(),
        set_aside={reason.value: n for reason, n in found.set_aside.most_common()},
        exams=len(found.exams),
        kept=len(found.exams) - counts["predicted"] - counts["unread"],
        called={name: called[name] for name in model.card.inputs.task.classes},
        missing={name: _missing(found.exams, name) for name in model.card.inputs.clinical},
        **{name: counts[name] for name in ("predicted", "unread", "images")},
    )


def _missing(exams: Iterable[Exam], column: str) -> dict[str, int]:
    values = (exam.clinical[column] for exam in exams)
    return {why.value: n for why, n in Counter(v for v in values if isinstance(v, Missing)).most_common()}


def _unanswered(model: ReleasedModel, found: Found, out: Path, beside: Beside) -> Iterator[Exam]:
    """The exams without an answer; one that is there is heard, and what it says was set aside is counted."""
    card = model.card
    for exam in found.exams:
        files, known = {file.content: file.file for file in exam.files}, known_of(card.inputs.clinical, exam.clinical)
        there = kept_answer(out, exam.name, model=card.weights.sha256, files=files, known=known)
        if there is None or (beside.masks is not None and not beside.masks.whole(there)):
            yield exam
        else:
            found.set_aside.update({Reason(reason): n for reason, n in there.set_aside.items()})
            beside.keep(there)


def _computed(model: ReleasedModel, exams: Iterable[ReadExam]) -> Iterator[tuple[ReadExam, Said]]:
    """Each exam with what is said of each of its images; small exams are computed together, volumes exam by exam."""
    waiting: list[ReadExam] = []
    for one in exams:
        waiting.append(one)
        if model.card.inputs.images.slices or sum(len(w.images) for w in waiting) >= _batch(model):
            yield from _together(model, waiting)
            waiting = []
    yield from _together(model, waiting)


def _batch(model: ReleasedModel) -> int:
    images = model.card.inputs.images
    places = math.prod(images.grid) * max(1, _outputs(model))
    return 1 if images.slices else max(1, min(BATCH, _PLACES // places))


def _outputs(model: ReleasedModel) -> int:
    """How many are said of each place; 0 where a whole image is said something of."""
    return model.task.outputs if model.masks else 0


def _together(model: ReleasedModel, exams: Sequence[ReadExam]) -> Iterator[tuple[ReadExam, Said]]:
    said = _of_each(model, [(image, one) for one in exams for image in one.images])
    yield from ((one, list(islice(said, len(one.images)))) for one in exams)


def _of_each(model: ReleasedModel, images: Sequence[tuple[Seen, ReadExam]]) -> Iterator[NDArray[Any]]:
    """What is said of each image; a mask is made when it is asked for, since it is as large as a scan may be."""
    infer, size = inferer(model.card.inputs.images.patch, device=model.device), _batch(model)
    for start in range(0, len(images), size):
        seen = images[start : start + size]
        batch, known = to_network(np.stack([image.image for image, _ in seen])), [one.clinical for _, one in seen]
        with torch.inference_mode():
            logits = infer(model.network, batch, *model.beside(known)).numpy()
        yield from (_said(model, row, image) for row, (image, _) in zip(logits, seen, strict=True))


def _said(model: ReleasedModel, logits: NDArray[np.float32], seen: Seen) -> NDArray[Any]:
    """Of one image the logits as they are, or the mask that they make on its own grid."""
    if not model.masks:
        return logits
    return outline(logits, seen.own, shape=seen.shape, several=model.task.outputs > 1)


def _answer(model: ReleasedModel, one: ReadExam, said: Said, masks: MaskFiles | None) -> Prediction:
    outlined = masks.write(one, said) if masks is not None else None
    return Prediction(
        exam=one.name,
        study=model.card.origin.study,
        model=model.card.weights.sha256,
        findings=() if outlined else findings_of(model.card, np.stack(said)),
        structures=outlined.structures if outlined else (),
        masks=outlined.files if outlined else (),
        masks_missing=outlined.missing if outlined else None,
        clinical=known_of(model.card.inputs.clinical, one.clinical),
        calibration=model.card.calibration.words,
        operating_point=model.card.operating.words,
        files=tuple(one.files),
        set_aside={reason.value: n for reason, n in one.set_aside.items()},
    )
