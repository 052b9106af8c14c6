"""The exams of a folder that nobody has labelled: which files are one exam, and which are none, by reason.

Decides what is read together: DICOM files of one StudyInstanceUID are an exam, and any other file is one of its own,
because nothing says to what it belongs. Files are opened in a process of their own (`decoder`), with its limits; a file
that cannot be used costs itself alone. Unlike in a study, no label, patient or split is asked for.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from client.imaging.clinical import Clinical
from client.imaging.decoder import Decoder
from client.imaging.files import files_under
from client.imaging.form import Facts, Pixels
from client.imaging.reasons import Reason
from client.imaging.rules import Rules

T = TypeVar("T")
_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5, section 9.1
_LONGEST = 200  # bytes of a name that leave room for an ending; most systems have 255


@dataclass(frozen=True)
class ExamFile:
    """One file of an exam.

    Attributes:
        file: its path in the folder.
        content: SHA-256 (hex) of its bytes.
        facts: what its header says.
    """

    file: str = field(repr=False)
    content: str
    facts: Facts = field(repr=False)


@dataclass
class Exam:
    """What is told of together; `name` is the StudyInstanceUID, or the path of the one file as text, and stays here.

    `clinical` is what is known of the patient beside the images, for a model that takes such columns.
    """

    name: str = field(repr=False)
    files: list[ExamFile] = field(default_factory=list)
    clinical: Clinical = field(default_factory=dict, repr=False)


@dataclass
class Found:
    """A folder's exams in the order of their first files, and the other files by reason."""

    exams: list[Exam] = field(default_factory=list)
    files: int = 0
    set_aside: Counter[Reason] = field(default_factory=Counter)


def find_exams(folder: Path, decoder: Decoder, *, rules: Rules) -> Found:
    """Look at the header of every file.

    Args:
        folder: searched with its subfolders; links to folders are not followed.
        decoder: of this folder.
        rules: which images are wanted.
    """
    found, exams, seen = Found(), dict[str, Exam](), set[tuple[str, str]]()
    for path in files_under(folder):
        found.files, file = found.files + 1, path.relative_to(folder).as_posix()
        content, facts = decoder.facts(file)
        reason = facts if isinstance(facts, Reason) else rules.unwanted(facts.about)
        if reason is None and isinstance(facts, Facts):
            name = facts.exam if _UID.fullmatch(facts.exam) else _named_by(file)
            marks = {(name, mark) for mark in (content, facts.instance) if mark}
            reason = Reason.DUPLICATE if marks & seen else None
            seen |= marks
        if reason is not None or isinstance(facts, Reason):
            found.set_aside[reason or Reason.UNREADABLE] += 1
            continue
        exams.setdefault(name, Exam(name)).files.append(ExamFile(file, content, facts))
    found.exams = list(exams.values())
    return found


def images_of(
    exam: Exam, decoder: Decoder, prepare: Callable[[Pixels], T]
) -> Iterator[tuple[ExamFile, list[T] | Reason]]:
    """Each file of an exam with its images, each prepared before the next is read, or why they cannot be had."""
    for one in exam.files:
        frames = decoder.pixels(one.file, content=one.content, frames=range(one.facts.frames))
        images = [frame if isinstance(frame, Reason) else prepare(frame) for frame in frames]
        reason = next((image for image in images if isinstance(image, Reason)), None)
        yield one, reason or [image for image in images if not isinstance(image, Reason)]


def as_text(path: str) -> str:
    """A path as text: bytes that are no UTF-8 spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _named_by(path: str) -> str:
    """A path that answers may be called by: as text, and long names cut and told apart by their hashes."""
    return "/".join(map(_shortened, as_text(path).split("/")))


def _shortened(name: str) -> str:
    whole = name.encode()
    if len(whole) <= _LONGEST:
        return name
    return f"{whole[: _LONGEST // 2].decode(errors='ignore')}-{sha256(whole).hexdigest()[:16]}"
