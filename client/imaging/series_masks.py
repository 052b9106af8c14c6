"""The DICOM segmentations in a folder, beside the series that they were drawn on.

Decides which of them is the mask of a volume: the one that names its series. Of several nobody knows which counts, so
none does.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from client.imaging.catalogue import Row
from client.imaging.decoder import Decoder
from client.imaging.form import Facts, Pixels
from client.imaging.planes import Plane, Vector
from client.imaging.reasons import Reason, SetAside
from client.imaging.segment_names import structures_of, unknown_labels
from client.imaging.segments import Segments
from client.imaging.stacks import Piece
from client.imaging.unmapped import Unmapped
from client.imaging.vocabulary import Vocabulary

Drawn = tuple[Row, Facts]  # the file of a segmentation, and what its header says


@dataclass
class Found:
    """What of some files that are no images is a segmentation.

    Attributes:
        by_series: those that are, by the series that each names.
        others: those that are not.
    """

    by_series: dict[str, list[Drawn]] = field(default_factory=lambda: defaultdict(list))
    others: list[Row] = field(default_factory=list)

    def taken(self, series: str) -> list[Drawn]:
        """The segmentations of one series, which are then no longer here."""
        return self.by_series.pop(series, [])

    def rest(self) -> Iterator[Row]:
        """The files that are no masks of anything here."""
        yield from self.others
        yield from (row for drawn in self.by_series.values() for row, _ in drawn)


class SeriesMasks:
    """Reads the segmentations of one folder.

    Args:
        command: what decodes them (`decoder.decoding_command`).
        names: the study's structures and the site's words for them.
        volume: the shape of the study's volumes.
    """

    def __init__(self, command: Sequence[str], *, names: Vocabulary, volume: tuple[int, ...]) -> None:
        self._command = command
        self._names = names
        self._volume = volume

    def found(self, rows: Iterable[Row]) -> Found:
        """Look into files that are no images."""
        found = Found()
        with Decoder(self._command) as decoder:
            for row in rows:
                _, facts = decoder.facts(row.file)
                if isinstance(facts, Reason):
                    found.others.append(row)
                else:
                    found.by_series[facts.series].append((row, facts))
        return found

    def joined(
        self,
        row: Row,
        candidates: Sequence[Drawn],
        *,
        plane: Plane,
        positions: dict[Piece, Vector],
        unmapped: Unmapped,
    ) -> Row:
        """A volume with its mask, or set aside for want of one.

        Args:
            row: the volume.
            candidates: the segmentations of its series.
            plane: where one of its slices lies.
            positions: of each of its slices.
            unmapped: hears of names that nobody knows.
        """
        if row.stack is None or len({mask.content for mask, _ in candidates}) != 1:
            return replace(row, set_aside=Reason.MASK_SEVERAL if candidates else Reason.NO_MASK)
        (mask, facts), places = candidates[0], tuple(positions[piece] for piece in row.stack.pieces)
        try:
            segments = Segments(structures_of(facts.segments, self._names), plane, places)
        except SetAside as error:
            unmapped.note(unknown_labels(facts.segments, self._names), row.patient)
            return replace(row, set_aside=error.reason)
        return replace(row, mask=mask.file, mask_content=mask.content, segments=segments)

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The numbers of structures in each volume, or why there are none."""
        with Decoder(self._command, volume=self._volume) as decoder:
            for row in rows:
                assert row.stack is not None and row.mask is not None and row.segments is not None
                yield decoder.mask(row.stack, row.segments, file=row.mask, content=row.mask_content)
