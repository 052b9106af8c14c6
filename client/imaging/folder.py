"""A folder of image files beside a table of labels, whatever the file format.

Decides the order of the checks on one file: size, format, duplicate, patient, label. Every file of
the folder becomes a row; one that cannot be used costs only itself. What a file's bytes mean is left
to its format (`dicom`, `pictures`).
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from client.imaging.catalogue import Reason, Row, SetAside, pseudonym
from client.imaging.labels import Entry, Key, LabelTable
from shared.canonical import digest
from shared.errors import ResourceError

Pixels = NDArray[np.uint16]  # (height, width) or (height, width, 3), 0..65535 spans the window
T = TypeVar("T")
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 2**25  # of one image; a 5k x 5k mammogram has 2.5e7


@dataclass(frozen=True)
class Facts:
    """What a file's header says; empty where it says nothing. Identifiers, so never logged."""

    patient: str = ""
    accession: str = ""
    exam: str = ""
    series: str = ""
    instance: str = ""


class Format(Protocol):
    """How one kind of file is read. Both methods raise `SetAside`, or anything on hostile bytes."""

    source: str
    keys: tuple[Key, ...]

    def facts(self, data: bytes) -> Facts:
        """Read the header and check that `pixels` can be asked."""
        ...

    def pixels(self, data: bytes) -> Pixels:
        """Decode the one image of the file."""
        ...


class FolderSource:
    """The images under one folder.

    Args:
        folder: searched with its subfolders; links to folders are not followed.
        table: what the hospital says about the files.
        skip: a file that is no image and no finding, the label table itself.
        form: the format of the files.
        salt: the federation's salt, for pseudonyms.

    Raises:
        ResourceError: there is no such folder.
    """

    def __init__(self, folder: Path, *, table: LabelTable, skip: Path, form: Format, salt: bytes) -> None:
        if not folder.is_dir():
            raise ResourceError("The folder of images does not exist.", remedy="Correct data.folder in site.toml.")
        self._folder = folder
        self._table = table
        self._skip = skip
        self._form = form
        self._salt = salt

    def rows(self) -> Iterator[Row]:
        """One row per file, in the order of the paths."""
        seen: set[str] = set()
        for path in _files(self._folder):
            if path != self._skip:
                yield self._row(path, seen)

    @property
    def labels_unused(self) -> int:
        """Lines of the label table that no file answered to."""
        return self._table.unused

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The pixels of each row, or why it has none."""
        for row in rows:
            yield _guarded(lambda row=row: self._pixels(row))  # type: ignore[misc]

    def _row(self, path: Path, seen: set[str]) -> Row:
        row = Row(self._form.source, path.relative_to(self._folder).as_posix())
        if self._table.key == "file":
            self._table.find(row.file)  # its line is answered, whatever becomes of the file
        content = _guarded(lambda: _read(path))
        if isinstance(content, Reason):
            return replace(row, set_aside=content)
        row = replace(row, content=digest(content))
        facts = _guarded(lambda: self._form.facts(content))
        if isinstance(facts, Reason):
            return replace(row, set_aside=facts)
        marks = {mark for mark in (row.content, facts.instance) if mark}
        if marks & seen:
            return replace(row, set_aside=Reason.DUPLICATE)
        seen |= marks
        return self._labelled(row, facts)

    def _labelled(self, row: Row, facts: Facts) -> Row:
        entry = self._entry(row, facts)
        patient = entry.patient or facts.patient  # the table may undo one PatientID for a whole de-identified export
        reason = entry.reason if patient else entry.reason or Reason.NO_PATIENT
        return replace(
            row,
            patient=self._pseudonym(patient),
            exam=self._pseudonym(facts.exam),
            series=self._pseudonym(facts.series),
            labels=entry.labels,
            split=entry.split,
            set_aside=reason,
        )

    def _entry(self, row: Row, facts: Facts) -> Entry:
        names = {"file": row.file, "accession": facts.accession, "patient": facts.patient}
        return self._table.find(names[self._table.key])

    def _pseudonym(self, identifier: str | None) -> str | None:
        return pseudonym(self._salt, identifier) if identifier else None

    def _pixels(self, row: Row) -> Pixels:
        content = _read(self._folder / row.file)
        if digest(content) != row.content:
            raise SetAside(Reason.UNREADABLE)  # changed since it was catalogued
        return self._form.pixels(content)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SetAside(Reason.NOT_AN_IMAGE)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SetAside(Reason.TOO_LARGE)
    return path.read_bytes()


def _guarded(work: Callable[[], T]) -> T | Reason:
    # Decoders meet hostile bytes with every kind of exception; each of them costs this file only.
    try:
        with _quiet():
            return work()
    except SetAside as error:
        return error.reason
    except Exception:
        return Reason.UNREADABLE


@contextmanager
def _quiet() -> Iterator[None]:
    # Warnings and log lines of the decoders quote values of the header, so of patients.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
