"""Which structures of a study the segments of a DICOM segmentation are.

Decides by the name that a segment has in its file (SegmentLabel), the first that applies; nothing is guessed:

1. What `labels.words` of the site leads to, or else the name itself, is a structure of the study: it is that one.
2. It leads to `negative` or `unlabelled`: the segment is nothing that the study looks for.
3. The name only counts (`Segment 2`, `2`, or none at all): the number of the segment is that of the structure.
4. Any other name: the mask is not used. So is one that counts otherwise than its file does: programs number segments
   anew when one is deleted, and keep their names.
"""

import re
from collections.abc import Sequence

from client.imaging.reasons import Reason, SetAside
from client.imaging.segments import Segment
from client.imaging.vocabulary import Vocabulary

_COUNTS = re.compile(r"(segment)?[ _-]*(?P<number>\d*)", re.IGNORECASE)


def structures_of(segments: Sequence[Segment], names: Vocabulary) -> tuple[tuple[int, int], ...]:
    """The number of each segment that the study looks for, and of its structure, by the module's rules.

    Raises:
        SetAside: a segment is named as the study and the site's words know nothing.
    """
    known = {segment.number: _structure(segment, names) for segment in segments}
    return tuple((number, structure) for number, structure in sorted(known.items()) if structure)


def unknown_labels(segments: Sequence[Segment], names: Vocabulary) -> tuple[str, ...]:
    """The names of segments that rule 4 meets."""
    return tuple(
        segment.label for segment in segments if names.structure(segment.label) is None and not _counts(segment)
    )


def _structure(segment: Segment, names: Vocabulary) -> int:
    named = names.structure(segment.label)
    if named is None and _counts(segment) and segment.number <= len(names.task.classes):
        return segment.number
    if named is None:
        raise SetAside(Reason.MASK_UNKNOWN)
    return named


def _counts(segment: Segment) -> bool:
    """Whether the name says nothing but the segment's own number."""
    counted = _COUNTS.fullmatch(segment.label.strip())
    return counted is not None and int(counted["number"] or segment.number) == segment.number
