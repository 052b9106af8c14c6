"""The DICOM series under a folder as volumes.

Decides which images belong together: those of one series that are parallel in one frame of reference. What they make
is left to `stacks`; what becomes of each file before that to `folder`. A file that its own header or rules set aside
is no slice; whatever befalls a volume befalls all its files. The label table may name any image of a volume, by
file, accession or patient; where it says two things about one volume, the volume is set aside. Where a study looks for
masks, they are DICOM segmentations in the same folder (`series_masks`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from client.imaging.about import About
from client.imaging.catalogue import Row
from client.imaging.clinical import merged
from client.imaging.crew import Crew
from client.imaging.extent import Extent
from client.imaging.folder import FolderSource
from client.imaging.form import Facts, Pixels
from client.imaging.planes import Plane, Vector
from client.imaging.reasons import Reason, SetAside
from client.imaging.series_masks import Drawn, Found, SeriesMasks
from client.imaging.stacks import Piece, Stack, stack_of
from client.imaging.traits import agreed

_OF_THE_TABLE = frozenset(
    {Reason.UNLABELLED, Reason.LABEL_UNKNOWN, Reason.LABEL_CONFLICT, Reason.SPLIT_UNKNOWN, Reason.NO_PATIENT}
)


class SeriesSource:
    """The volumes of one folder.

    Args:
        folder: finds the files and judges each.
        command: what decodes them, for a study of volumes (`decoder.decoding_command`).
        volume: the shape of the study's volumes.
        masks: reads their masks, for a study that looks for them.
    """

    def __init__(
        self,
        folder: FolderSource,
        *,
        command: Sequence[str],
        volume: tuple[int, ...],
        masks: SeriesMasks | None = None,
    ) -> None:
        self.unmapped = folder.unmapped
        self._folder = folder
        self._command = command
        self._volume = volume
        self._masks = masks
        self.mask_files = 0

    def rows(self) -> Iterator[Row]:
        """One row per file that is no slice, then one per volume, or per file of what is none."""
        piles: dict[str, list[_Pile]] = defaultdict(list)
        others: list[Row] = []
        for row, facts in self._folder.found():
            if self._masks is not None and row.set_aside is Reason.OTHER_OBJECT:
                others.append(row)
                continue
            if facts is None or (row.set_aside is not None and row.set_aside not in _OF_THE_TABLE):
                yield row
                continue
            _sort_in(piles[facts.series or row.file], row, facts)
        found = self._masks.found(others) if self._masks else Found()
        for series, group in piles.items():
            drawn = found.taken(series)
            self.mask_files += len(drawn)
            for pile in group:
                yield from (self._with_mask(row, pile, drawn) for row in pile.rows())
        yield from found.rest()

    @property
    def labels_unused(self) -> int:
        """Lines of the label table that no file answered to."""
        return self._folder.labels_unused

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The volume of each row, or why there is none."""
        with Crew(self._command, self._folder.path, volume=self._volume) as crew:
            yield from crew.volumes(map(_stack, rows))

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The mask of each row, or why there is none."""
        assert self._masks is not None
        return self._masks.decode(rows)

    def _with_mask(self, row: Row, pile: "_Pile", drawn: list[Drawn]) -> Row:
        if self._masks is None or row.set_aside is not None:
            return row
        return self._masks.joined(row, drawn, plane=pile.plane, positions=dict(pile.pieces), unmapped=self.unmapped)


@dataclass
class _Pile:
    """Parallel images of one series.

    Attributes:
        plane: where the first lies.
        pieces: each image, with its position.
        said: one row for each thing that the table says about them.
    """

    plane: Plane
    pieces: list[tuple[Piece, Vector]] = field(default_factory=list)
    said: dict[tuple[object, ...], Row] = field(default_factory=dict)

    def add(self, piece: Piece, position_mm: Vector, row: Row) -> None:
        self.pieces.append((piece, position_mm))
        key = (row.set_aside, row.labels, row.patient, row.split)
        known = self.said.get(key, row)
        self.said[key] = replace(
            known, clinical=merged(known.clinical, row.clinical), traits=agreed(known.traits, row.traits)
        )

    def rows(self) -> Iterator[Row]:
        """One row for the volume, or one per file if there is none."""
        try:
            row, stack = self._row(), stack_of(self.plane, self.pieces)
        except SetAside as error:
            row = next(iter(self.said.values()))
            files = {piece.file: piece for piece, _ in self.pieces}.values()
            yield from (replace(row, file=p.file, content=p.content, index=0, set_aside=error.reason) for p in files)
            return
        first, about = stack.pieces[0], row.about or About()
        if stack.shifts_mm:
            about = replace(about, marks=(*about.marks, "tilted_gantry"))
        extent = Extent(*stack.scan.upright)
        yield replace(
            row, file=first.file, content=first.content, index=first.frame, about=about, stack=stack, extent=extent
        )

    def _row(self) -> Row:
        """What the table says about the volume.

        Raises:
            SetAside: nothing that can be used, or two things.
        """
        usable = [row for row in self.said.values() if row.set_aside is None]
        others = [row.set_aside for row in self.said.values() if row.set_aside not in (None, Reason.UNLABELLED)]
        if others and others[0] is not None:
            raise SetAside(others[0])
        if len(usable) > 1:
            raise SetAside(Reason.LABEL_CONFLICT)
        if not usable:
            raise SetAside(Reason.UNLABELLED)
        return usable[0]


def _stack(row: Row) -> Stack:
    assert row.stack is not None
    return row.stack


def _sort_in(piles: list[_Pile], row: Row, facts: Facts) -> None:
    for frame, plane in enumerate(facts.planes):
        pile = next((pile for pile in piles if pile.plane.parallel(plane)), None)
        if pile is None:
            piles.append(pile := _Pile(plane))
        pile.add(Piece(row.file, row.content, frame), plane.position_mm, row)
