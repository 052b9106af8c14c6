"""A folder of image files beside a table of labels, whatever the file format.

Decides the order of the checks on one file: size, format, duplicate, rule, patient, label. Every frame of a
file becomes a row; a file that cannot be used costs only itself and is one row. Files are opened in a
process of their own (`decoder`); what their bytes mean is left to the format (`dicom`, `pictures`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, tee
from pathlib import Path

from client.imaging.catalogue import Row, pseudonym
from client.imaging.crew import Crew
from client.imaging.decoder import Decoder
from client.imaging.doubtful import says_nobody
from client.imaging.files import files_under
from client.imaging.form import Facts, Pixels
from client.imaging.labels import Entry, LabelTable
from client.imaging.lattice import misplaced
from client.imaging.reasons import Reason
from client.imaging.rules import USUAL, Rules
from client.imaging.unmapped import Unmapped
from shared.errors import ResourceError

_SEXES = ("F", "M")  # "O" is also written where nobody asked
_NAMELESS = ("nifti", "pictures")  # their files name no patient; the label table does


class FolderSource:
    """The images under one folder.

    Args:
        folder: searched with its subfolders; links to folders are not followed.
        table: what the hospital says about the files; None if it says nothing, and then no label is asked for.
        skip: a file that is no image and no finding, the label table itself.
        source: the format's name.
        command: what decodes the files (`decoder.decoding_command`).
        rules: which images the site wants.
        volume: the shape of every image, in a study of volumes.
        masks: what decodes the mask that an image needs, a file in the folder that the table names; None without need.
        salt: the federation's salt, for pseudonyms.

    Attributes:
        path: the folder.

    Raises:
        ResourceError: there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        table: LabelTable | None,
        skip: Path | None,
        source: str,
        command: Sequence[str],
        salt: bytes,
        rules: Rules = USUAL,
        volume: tuple[int, ...] | None = None,
        masks: Sequence[str] | None = None,
    ) -> None:
        if not folder.is_dir():
            raise ResourceError("The folder of images does not exist.", remedy="Correct data.folder in site.toml.")
        self.path = folder
        self._table = table
        self._skip = skip
        self._source = source
        self._command = command
        self._salt = salt
        self._rules = rules
        self.unmapped = Unmapped()
        self._volume = volume
        self._mask_command = masks
        self.mask_files = 0
        self._nameless = table is None and source in _NAMELESS

    def rows(self) -> Iterator[Row]:
        """One row per image, or per file that holds none, in the order of the paths."""
        for row, facts in self.found():
            frames = facts.frames if facts and row.set_aside is None else 1
            yield from (replace(row, index=frame) for frame in range(frames))

    def found(self) -> Iterator[tuple[Row, Facts | None]]:
        """One row per file, and what its header says if it is an image, in the order of the paths."""
        seen: set[str] = set()
        names, again = tee(self._image_names())
        with Crew(self._command, self.path, volume=self._volume) as crew, Decoder(self._mask_command or ()) as masks:
            for name, said in zip(again, crew.facts(names), strict=True):
                row, facts = self._found(name, said, seen)
                yield (self._with_mask(row, facts, masks) if facts and self._mask_command else row), facts

    def _image_names(self) -> Iterator[str]:
        """The files that may be images, and no masks of others."""
        named = self._table.masks if self._table and self._source in _NAMELESS else frozenset()
        for path in files_under(self.path):
            if (name := self._name(path)) in named:
                self.mask_files += 1
            elif path != self._skip:
                yield name

    @property
    def labels_unused(self) -> int:
        """Lines of the label table that no file answered to."""
        return self._table.unused if self._table else 0

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The pixels of each row, or why it has none; rows of one file come together."""
        files = groupby(rows, key=lambda row: (row.file, row.content))
        with Crew(self._command, self.path, volume=self._volume) as crew:
            yield from crew.pixels((*file, [row.index for row in group]) for file, group in files)

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The stored values of each row's mask, or why it has none; rows of one mask come together."""
        with Decoder(self._mask_command or (), volume=self._volume) as decoder:
            for (mask, content), group in groupby(rows, key=lambda row: (row.mask or "", row.mask_content)):
                yield from decoder.pixels(mask, content=content, frames=[row.index for row in group])

    def _found(self, name: str, said: tuple[str, Facts | Reason], seen: set[str]) -> tuple[Row, Facts | None]:
        row = Row(self._source, name)
        if self._table and self._table.key == "file":
            self._table.find(row.file)  # its line is answered, whatever becomes of the file
        content, facts = said
        row = replace(row, content=content)
        if isinstance(facts, Reason):
            return replace(row, set_aside=facts), None
        return self._judged(replace(row, about=facts.about, extent=facts.size), facts, seen), facts

    def _judged(self, row: Row, facts: Facts, seen: set[str]) -> Row:
        marks = {mark for mark in (row.content, facts.instance) if mark}
        if marks & seen:
            return replace(row, set_aside=Reason.DUPLICATE)
        row = self._labelled(row, facts)
        if row.set_aside is not Reason.UNLABELLED:  # else the table may name a copy of it
            seen |= marks
        return replace(row, set_aside=self._rules.unwanted(facts.about) or row.set_aside)

    def _labelled(self, row: Row, facts: Facts) -> Row:
        entry = self._entry(row, facts)
        # The table may undo one PatientID for a whole de-identified export; not if it is what finds the line.
        told = entry.patient if self._table and self._table.key != "patient" else None
        patient = told or ("" if says_nobody(facts.patient) else facts.patient)
        reason = entry.reason if patient or self._nameless else entry.reason or Reason.NO_PATIENT
        self.unmapped.note(entry.unknown, self._pseudonym(patient))
        return replace(
            row,
            patient=self._pseudonym(patient),
            exam=self._pseudonym(facts.exam),
            series=self._pseudonym(facts.series),
            labels=entry.labels,
            clinical=entry.clinical,
            split=entry.split,
            mask=entry.mask if self._mask_command else None,
            set_aside=reason,
            by_header=told is None,
            traits=facts.traits,
            birth=self._pseudonym(facts.birth),
            sex=self._pseudonym(facts.sex if facts.sex in _SEXES else ""),
        )

    def _with_mask(self, row: Row, facts: Facts, masks: Decoder) -> Row:
        if row.set_aside is not None or row.mask is None:
            return replace(row, set_aside=row.set_aside or Reason.NO_MASK)
        mask = self.path / row.mask
        if not mask.resolve().is_relative_to(self.path.resolve()):
            return replace(row, set_aside=Reason.MASK_UNREADABLE)
        content, found = masks.facts(row.mask)
        reason = Reason.MASK_UNREADABLE if isinstance(found, Reason) else misplaced(found.lattice, facts.lattice)
        return replace(row, mask_content=content, set_aside=reason)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _entry(self, row: Row, facts: Facts) -> Entry:
        if self._table is None:
            return Entry(None)
        names = {"file": row.file, "accession": facts.accession, "patient": facts.patient}
        return self._table.find(names[self._table.key])

    def _pseudonym(self, identifier: str | None) -> str | None:
        return pseudonym(self._salt, identifier) if identifier else None
