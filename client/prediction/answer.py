"""What a released model says of one exam: the file that is written, and when one that lies there is kept.

An answer is kept if it is of this model, of the same images, to the byte, and of the same clinical values. It is for
the hospital alone: it names the exam and its files.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from client.imaging.clinical import Clinical, Missing
from client.imaging.exams import as_text
from shared.calibration import probabilities
from shared.classification import Classification
from shared.clinical import Columns
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.fields import Digest
from shared.metrics import Floats
from shared.model_card import RESEARCH_ONLY, ModelCard
from shared.section import Section


class Finding(Section):
    """One class: the probability as the card calibrates it, and whether the operating point calls it."""

    name: str
    probability: float
    called: bool


class Structure(Section):
    """One structure that the model was to find.

    `area_px` are the places of the images' own grids that belong to it, `volume_ml` its volume where the images are
    volumes whose spacing is known; None where they are not.
    """

    name: str
    area_px: int | None = None
    volume_ml: float | None = None
    found: bool


class Known(Section):
    """What is known beside the images, by clinical column of the study.

    `values` are in the study's units and words; `missing` says why there is none.
    """

    values: dict[str, float | str] = Field(default_factory=dict)
    missing: dict[str, Missing] = Field(default_factory=dict)


class ReadFile(Section):
    """A file of the exam; `images` is 0 if it could not be decoded."""

    file: str
    sha256: Digest
    images: int


class Prediction(Section):
    """The answer, one JSON file.

    A model that classifies gives `findings`; one that finds masks `structures`, and the names of the files beside the
    answer that hold its `masks`; `masks_missing` says why there are none that were asked for. `clinical` is what it was
    told beside the images. `set_aside` counts files of the exam that could not be decoded, by reason.
    """

    notice: str = RESEARCH_ONLY
    exam: str
    study: str
    model: Digest
    findings: tuple[Finding, ...] = ()
    structures: tuple[Structure, ...] = ()
    masks: tuple[str, ...] = ()
    masks_missing: str | None = None
    clinical: Known = Known()
    calibration: str
    operating_point: str
    files: tuple[ReadFile, ...]
    set_aside: dict[str, int]


def findings_of(card: ModelCard, logits: Floats) -> tuple[Finding, ...]:
    """What the (images, outputs) logits of one exam say: their mean, calibrated, against the operating point."""
    task = Classification(card.inputs.task)
    images, nothing = np.zeros(len(logits), np.int64), np.zeros(logits.shape, np.int64)
    row, _ = task.by_patient(logits, nothing, images)
    margins, _ = task.one_vs_rest(row, nothing[:1])
    exclusive = card.inputs.task.mode == "multiclass"
    shares = probabilities(margins, card.calibration.scalings, exclusive=exclusive)[0]
    called = [n == int(margins[0].argmax()) for n in range(len(shares))]
    if card.operating.rule != "likeliest":
        called = [margin >= (at.cut or 0.0) for margin, at in zip(margins[0], card.operating.at, strict=True)]
    named = zip(card.inputs.task.classes, shares, called, strict=True)
    return tuple(Finding(name=name, probability=round(float(p), 6), called=bool(call)) for name, p, call in named)


def known_of(columns: Columns, known: Clinical) -> Known:
    """What a network of these columns is told of an exam."""
    values = {name: value for name, value in known.items() if not isinstance(value, Missing)}
    words = {name: columns[name].values[int(v)] if columns[name].values else v for name, v in values.items()}
    return Known(values=words, missing={name: v for name, v in known.items() if isinstance(v, Missing)})


def called_of(said: Prediction) -> tuple[str, ...]:
    """The classes that an answer calls, or the structures that it finds."""
    classes = [finding.name for finding in said.findings if finding.called]
    return (*classes, *(structure.name for structure in said.structures if structure.found))


def place_of(out: Path, exam: str) -> Path:
    """Where the answer about an exam lies."""
    return out / f"{exam}.json"


def kept_answer(out: Path, exam: str, *, model: str, files: Mapping[str, str], known: Known) -> Prediction | None:
    """The answer that is there already; None if it cannot be read, or is of something else, and is to be made again.

    Args:
        out: the folder of the answers.
        exam: its name.
        model: SHA-256 of the model file.
        files: the exam's, the path in the folder of images by SHA-256; the answer is returned with these paths.
        known: what the model is told of it beside the images.

    Raises:
        ConfigError: answers of another model lie there.
    """
    try:
        there = Prediction.model_validate_json(place_of(out, exam).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    if there.model != model:
        raise ConfigError(
            "The folder for the answers holds some of another model.", remedy="Name another folder with --out."
        )
    if files.keys() != {file.sha256 for file in there.files} or there.clinical != known:
        return None
    named = tuple(file.model_copy(update={"file": files[file.sha256]}) for file in there.files)
    return there.model_copy(update={"files": named})


def write_answer(out: Path, said: Prediction) -> None:
    """Write an answer whole or not at all, for this account alone; raises `OSError` if the disk refuses."""
    place = place_of(out, said.exam)
    files = tuple(file.model_copy(update={"file": as_text(file.file)}) for file in said.files)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(place, said.model_copy(update={"files": files}).model_dump_json(indent=1).encode(), mode=0o600)
