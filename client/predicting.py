"""A released model over a folder: exam by exam, so that an interrupted run goes on where it stopped.

Decides the order (find, leave out what is answered, decode, compute in batches, write) and what is counted: every
file once, as used or by the reason that set it aside.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.imaging.decoder import Decoder
from client.imaging.exams import Exam, Found, find_exams, images_of
from client.imaging.fit import fit
from client.imaging.reasons import Reason
from client.imaging.rules import Rules
from client.imaging.transforms import to_network
from client.prediction import Prediction, ReadFile, findings_of, kept_answer, write_answer
from client.released_model import ReleasedModel
from shared.images import ImageSpec
from shared.metrics import Floats
from shared.section import Section

BATCH = 64  # images at a time
_EVERY = 100
Hear = Callable[[Prediction, list[NDArray[np.uint16]], Floats], None]


class Tally(Section):
    """What became of a folder.

    `files` are `used` and those of `set_aside`; `exams` are `predicted`, `kept` and `unread`. `kept` were answered by
    an earlier run; of `unread` no image could be decoded. `called` is by class, of the exams predicted now.
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


@dataclass
class _Decoded:
    """One exam's files, and its images in the network's shape."""

    exam: Exam
    files: list[ReadFile] = field(default_factory=list)
    images: list[NDArray[np.uint16]] = field(default_factory=list)
    set_aside: Counter[Reason] = field(default_factory=Counter)


def predict(
    model: ReleasedModel,
    *,
    folder: Path,
    command: Sequence[str],
    out: Path,
    rules: Rules,
    say: Callable[[str], None] = lambda _: None,
    hear: Hear = lambda *_: None,
    keep: Callable[[Prediction], None] = lambda _: None,
) -> Tally:
    """Answer every exam of a folder that is not answered yet.

    Args:
        model: checked.
        folder: the images.
        command: what decodes its files (`decoder.decoding_command`).
        out: the folder of the answers; made if need be.
        rules: which images are wanted.
        say: hears how far it is, now and then.
        hear: hears each answer once it is written, with the exam's images and their (images, outputs) logits.
        keep: hears each answer that was there already.

    Raises:
        ConfigError: `out` holds answers of another model.
    """
    called, counts = Counter[str](), Counter[str]()
    with Decoder(command) as decoder:
        found = find_exams(folder, decoder, rules=rules)
        waiting = list(_unanswered(found, out, model.card.weights.sha256, keep))
        for one, logits in _computed(model, _decoded(waiting, decoder, model.card.inputs.images)):
            found.set_aside += one.set_aside
            counts.update({"images": len(one.images), "predicted" if one.images else "unread": 1})
            if one.images:
                said = _answer(model, one, logits)
                write_answer(out, said)
                hear(said, one.images, logits)
                called.update(finding.name for finding in said.findings if finding.called)
            if (done := counts["predicted"] + counts["unread"]) % _EVERY == 0:
                say(f"{done:,} of {len(waiting):,} exams")
    return Tally(
        files=found.files,
        used=found.files - found.set_aside.total(),
        set_aside={reason.value: n for reason, n in found.set_aside.most_common()},
        exams=len(found.exams),
        kept=len(found.exams) - len(waiting),
        called={name: called[name] for name in model.card.inputs.task.classes},
        **{name: counts[name] for name in ("predicted", "unread", "images")},
    )


def _unanswered(found: Found, out: Path, model: str, keep: Callable[[Prediction], None]) -> Iterator[Exam]:
    """The exams without an answer; one that is there is heard, and what it says was set aside is counted."""
    for exam in found.exams:
        there = kept_answer(out, exam.name, model=model, files={file.content: file.file for file in exam.files})
        if there is None:
            yield exam
        else:
            found.set_aside.update({Reason(reason): n for reason, n in there.set_aside.items()})
            keep(there)


def _decoded(exams: Iterable[Exam], decoder: Decoder, spec: ImageSpec) -> Iterator[_Decoded]:
    for exam in exams:
        one = _Decoded(exam)
        for file, images in images_of(exam, decoder, lambda pixels: fit(pixels, spec)):
            read = [] if isinstance(images, Reason) else images
            one.images += read
            one.files.append(ReadFile(file=file.file, sha256=file.content, images=len(read)))
            one.set_aside.update([images] if isinstance(images, Reason) else [])
        yield one


def _computed(model: ReleasedModel, exams: Iterable[_Decoded]) -> Iterator[tuple[_Decoded, Floats]]:
    """Each exam with its (images, outputs) logits; small exams are computed together."""
    waiting: list[_Decoded] = []
    for one in exams:
        waiting.append(one)
        if sum(len(w.images) for w in waiting) >= BATCH:
            yield from _together(model, waiting)
            waiting = []
    yield from _together(model, waiting)


def _together(model: ReleasedModel, exams: Sequence[_Decoded]) -> Iterator[tuple[_Decoded, Floats]]:
    images = [image for one in exams for image in one.images]
    logits = np.zeros((len(images), model.task.outputs), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = to_network(np.stack(images[start : start + BATCH])).to(model.device)
            logits[start : start + len(batch)] = model.network(batch).float().cpu().numpy()
    ends = np.cumsum([len(one.images) for one in exams])
    yield from ((one, logits[end - len(one.images) : end]) for one, end in zip(exams, ends, strict=True))


def _answer(model: ReleasedModel, one: _Decoded, logits: Floats) -> Prediction:
    return Prediction(
        exam=one.exam.name,
        study=model.card.origin.study,
        model=model.card.weights.sha256,
        findings=findings_of(model.card, model.task, logits),
        calibration=model.card.calibration.words,
        operating_point=model.card.operating.words,
        files=tuple(one.files),
        set_aside={reason.value: n for reason, n in one.set_aside.items()},
    )
