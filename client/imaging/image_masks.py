"""The single DICOM images under a folder, with the segmentations that name them.

Decides which segmentation is the mask of an image: the one that is about it. Of several nobody knows which counts, so
none does. Of an image that a segmentation is about and no frame of it is drawn on, the mask is empty, as writers leave
empty frames out. Series as volumes have their own way (`series_masks`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

import numpy as np

from client.imaging.catalogue import Row
from client.imaging.crew import Crew, hands
from client.imaging.decoder import Decoder
from client.imaging.folder import FolderSource
from client.imaging.form import Facts, Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.segment_names import structures_of, unknown_labels
from client.imaging.series_masks import Drawn
from client.imaging.vocabulary import Vocabulary


class MaskedImages:
    """The images of one folder, each with its mask.

    Args:
        folder: finds the files and judges each.
        command: what decodes segmentations (`decoder.decoding_command`).
        names: the study's structures and the site's words for them.
    """

    def __init__(self, folder: FolderSource, *, command: Sequence[str], names: Vocabulary) -> None:
        self.unmapped = folder.unmapped
        self._folder, self._command, self._names = folder, command, names
        self.mask_files = 0

    def rows(self) -> Iterator[Row]:
        """One row per image, then one per file that is none, and no mask of an image here."""
        images: list[tuple[Row, Facts]] = []
        others: list[Row] = []
        for row, facts in self._folder.found():
            if facts is not None and row.set_aside is None:
                images += [(replace(row, index=frame), facts) for frame in range(facts.frames)]
            elif row.set_aside is Reason.OTHER_OBJECT:
                others.append(row)
            else:
                yield row
        drawn, rest = self._drawn(others, {facts.instance for _, facts in images})
        yield from (self._joined(row, facts, drawn[facts.instance]) for row, facts in images)
        yield from rest

    @property
    def labels_unused(self) -> int:
        """Lines of the label table that no file answered to."""
        return self._folder.labels_unused

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The pixels of each row, or why it has none."""
        return self._folder.decode(rows)

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The numbers of structures at each place of each image, or why there are none."""
        rows = tuple(rows)
        files = groupby(rows, key=lambda row: (row.mask or "", row.mask_content))  # each is decoded whole: ask once
        asked = ((*file, [frame for row in group for frame in _frames(row)]) for file, group in files)
        with Crew(self._command, self._folder.path, most=max(1, hands() // 2)) as crew:  # another decodes the images
            read = crew.pixels(asked)
            for row in rows:
                yield _laid_over(list(islice(read, len(_frames(row)))), [structure for _, structure in row.drawn])

    def _drawn(self, others: Iterable[Row], here: set[str]) -> tuple[dict[str, list[Drawn]], list[Row]]:
        """By image the segmentations that are about it, and the files that are about none of those here."""
        drawn: dict[str, list[Drawn]] = defaultdict(list)
        rest: list[Row] = []
        with Decoder(self._command) as decoder:
            for row in others:
                _, facts = decoder.facts(row.file)
                about = set() if isinstance(facts, Reason) else here.intersection(facts.images)
                if isinstance(facts, Reason) or not about:
                    rest.append(row)
                    continue
                self.mask_files += 1
                for uid in about:
                    drawn[uid].append((row, facts))
        return drawn, rest

    def _joined(self, row: Row, facts: Facts, candidates: Sequence[Drawn]) -> Row:
        """An image with its mask, or set aside for want of one."""
        if len({mask.content for mask, _ in candidates}) != 1:
            return replace(row, set_aside=Reason.MASK_SEVERAL if candidates else Reason.NO_MASK)
        mask, said = candidates[0]
        try:
            known = dict(structures_of(said.segments, self._names))
        except SetAside as error:
            self.unmapped.note(unknown_labels(said.segments, self._names), row.patient)
            return replace(row, set_aside=error.reason)
        drawn = tuple(
            (number, known[one.segment])
            for number, one in enumerate(said.drawn)
            if one.instance == facts.instance and one.frame in (None, row.index) and one.segment in known
        )
        return replace(row, mask=mask.file, mask_content=mask.content, drawn=drawn)


def _frames(row: Row) -> list[int]:
    """Those of its segmentation that are of an image; of none the first, for its size."""
    return [frame for frame, _ in row.drawn] or [0]


def _laid_over(read: Sequence[Pixels | Reason], structures: Sequence[int]) -> Pixels | Reason:
    """One mask of the frames of an image; where there is none for it, an empty one of their size."""
    frames = [one for one in read if not isinstance(one, Reason)]
    if len(frames) < len(read):
        return next(one for one in read if isinstance(one, Reason))
    mask = np.zeros(frames[0].shape, np.uint16)
    for frame, structure in zip(frames, structures, strict=False):
        if ((frame > 0) & (mask > 0) & (mask != structure)).any():
            return Reason.MASK_UNKNOWN
        mask[frame > 0] = structure
    return mask
