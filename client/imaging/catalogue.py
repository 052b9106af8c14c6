"""What a site has: one row per image, used or set aside with a reason, and the split of every patient.

Decides the patient key, the split and the digest. How a row is found and how its pixels are decoded
is left to the sources; which words mean which label to `vocabulary`.

A patient's split is a hash of the patient key, so it is the same in every study of the federation
at this site: the test patient of one study never trains another.
"""

import hashlib
import hmac
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from client.imaging.about import UNSTATED, About
from client.imaging.clinical import Clinical
from client.imaging.examples import Counts, Split
from client.imaging.extent import Extent, measures_by_patient
from client.imaging.reasons import Reason
from client.imaging.segments import Segments
from client.imaging.stacks import Stack
from client.imaging.traits import Traits
from shared.errors import ConfigError
from shared.study import TaskSpec

_SPLIT_DOMAIN = b"wardround split 1\0"


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes:
        source: dicom, pictures or npz.
        file: path within the folder, or name of the array; stays at the site.
        index: frame of the file, or position in the array.
        content: SHA-256 (hex) of the file that holds it.
        patient, exam, series: pseudonyms (`pseudonym`), None where unknown.
        labels: (0 | 1,) for binary, (class,) for multiclass, a 0 | 1 per class for multilabel; for segmentation a
            0 | 1 per structure, once its mask was read.
        split: as the labels name it; after `Catalogue.of`, as it is used.
        set_aside: why the image is not used, or None.
        mask: name of the array, or path within the folder, that holds the image's mask; None if there is none.
        mask_content: SHA-256 (hex) of the mask's file, if it has one of its own.
        segments: how a segmentation becomes the mask of a volume; None for other masks.
        drawn: of a segmentation of single images the frames that are of this one, each with its structure's number.
        clinical: the study's clinical columns of the patient: a value, or why there is none.
        about: how the image was made, for the account; None where nobody says.
        stack: the frames that make one volume, the first of them in `file`; None for an image by itself.
        extent: how large it is as it was made, for surveys; None where nobody says.
        by_header: whether the image's header alone names the patient (`doubtful`).
        birth, sex: what the header says of the patient, as pseudonyms; None where it says nothing.
        traits: to which subgroups the header counts the patient.
    """

    source: str
    file: str = field(repr=False)
    index: int = 0
    content: str = ""
    patient: str | None = None
    exam: str | None = None
    series: str | None = None
    labels: tuple[int, ...] | None = field(default=None, repr=False)
    split: Split | None = None
    set_aside: Reason | None = None
    mask: str | None = field(default=None, repr=False)
    mask_content: str = ""
    segments: Segments | None = None
    drawn: tuple[tuple[int, int], ...] = ()
    clinical: Clinical = field(default_factory=dict, repr=False)
    about: About | None = None
    stack: Stack | None = None
    extent: Extent | None = None
    by_header: bool = False
    birth: str | None = None
    sex: str | None = None
    traits: Traits = field(default_factory=Traits, repr=False)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold the image."""
        return self.stack.files if self.stack else (self.file,)


def pseudonym(salt: bytes, identifier: str) -> str:
    """HMAC-SHA256 (hex, RFC 2104) of an identifier under the federation's salt.

    Raises:
        ValueError: the salt is shorter than 16 bytes.
    """
    if len(salt) < 16:
        raise ValueError("the federation salt must have at least 16 bytes")
    return hmac.new(salt, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def hashed_split(patient: str, *, validation: float, test: float) -> Split:
    """The split of a patient key where nobody names one.

    Test takes the bottom of the hash range and validation its top, so that another validation
    fraction never moves a patient out of test.

    Args:
        patient: the patient key.
        validation: fraction of patients for validation.
        test: fraction of patients for test.
    """
    position = int.from_bytes(hashlib.sha256(_SPLIT_DOMAIN + patient.encode()).digest()[:8]) / 2**64
    if position < test:
        return Split.TEST
    return Split.VALIDATION if position >= 1 - validation else Split.TRAIN


@dataclass(frozen=True)
class Catalogue:
    """Every image of a site, in a fixed order."""

    rows: tuple[Row, ...]
    labels_unused: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row], *, validation: float, test: float, labels_unused: int = 0) -> "Catalogue":
        """Settle the split of every usable row.

        A split named in the labels wins. Where splits are named but none is validation, validation
        is carved from the train patients; where none is named, the patient key decides.

        Raises:
            ConfigError: the labels put one patient into two splits.
        """
        rows = tuple(rows)
        named = _named_splits(rows)
        carve = validation if Split.VALIDATION not in named.values() else 0.0

        def settle(row: Row) -> Row:
            if row.set_aside is not None or row.patient is None:
                return row
            split = named.get(row.patient)
            if split is None:
                split = hashed_split(row.patient, validation=validation, test=test)
            elif split is Split.TRAIN:
                split = hashed_split(row.patient, validation=carve, test=0.0)
            return replace(row, split=split)

        return cls(tuple(settle(row) for row in rows), labels_unused)

    @property
    def used(self) -> tuple[Row, ...]:
        """The rows that are not set aside."""
        return tuple(row for row in self.rows if row.set_aside is None)

    def screened(self, screen: Callable[[Row], Reason | None]) -> "Catalogue":
        """The same catalogue with those usable rows set aside for which `screen` gives a reason."""
        rows = (row if row.set_aside else replace(row, set_aside=screen(row)) for row in self.rows)
        return replace(self, rows=tuple(rows))

    def without(self, failed: Mapping[int, Reason]) -> "Catalogue":
        """The same catalogue with more rows set aside, named by their position in `used`."""
        positions = [position for position, row in enumerate(self.rows) if row.set_aside is None]
        reasons = {positions[number]: reason for number, reason in failed.items()}
        rows = (replace(row, set_aside=reasons.get(i, row.set_aside)) for i, row in enumerate(self.rows))
        return replace(self, rows=tuple(rows))

    def digest(self) -> str:
        """SHA-256 (hex) over every row: contents, keys, labels, splits and reasons."""
        sha = hashlib.sha256()
        for row in self.rows:
            sha.update(json.dumps(_facts(row), separators=(",", ":")).encode() + b"\n")
        return sha.hexdigest()

    def counts(self, task: TaskSpec) -> Counts:
        """What was found, used and set aside; nothing here identifies a patient."""
        patients: dict[Split, set[str]] = defaultdict(set)
        examples: Counter[Split] = Counter()
        classes: dict[Split, Counter[str]] = {split: Counter() for split in Split}
        vendors: dict[str, set[str]] = defaultdict(set)
        for row in self.used:
            assert row.split is not None and row.patient is not None and row.labels is not None
            patients[row.split].add(row.patient)
            examples[row.split] += 1
            vendors[row.about.vendor if row.about else UNSTATED].add(row.patient)
            classes[row.split].update(true_classes(row.labels, task) or ("negative",))
        return Counts(
            found=len(self.rows),
            used=len(self.used),
            set_aside=dict(Counter(row.set_aside.value for row in self.rows if row.set_aside is not None)),
            examples={split: examples[split] for split in Split},
            patients={split: len(patients[split]) for split in Split},
            classes={split: dict(classes[split]) for split in Split},
            labels_unused=self.labels_unused,
            vendors={vendor: len(who) for vendor, who in sorted(vendors.items())},
            measures=measures_by_patient(self._extents()),
        )

    def _extents(self) -> Iterator[tuple[str, Extent]]:
        for row in self.used:
            if row.split is Split.TRAIN and row.extent is not None and row.patient is not None:
                yield row.patient, row.extent


def true_classes(labels: tuple[int, ...], task: TaskSpec) -> tuple[str, ...]:
    """Names of the classes that are true for a row's labels."""
    if task.exclusive:
        return (task.classes[labels[0]],)
    return tuple(name for name, flag in zip(task.classes, labels, strict=True) if flag)


def crossing_patients(rows: Iterable[Row]) -> frozenset[str]:
    """The patients whom the labels put into more than one split."""
    return frozenset(patient for patient, splits in _named(rows).items() if len(splits) > 1)


def _named_splits(rows: tuple[Row, ...]) -> dict[str, Split]:
    if crossing := crossing_patients(rows):
        raise ConfigError(
            f"The labels put {len(crossing)} patients into more than one split.",
            remedy="Give all images of a patient the same split, or leave the split column out.",
        )
    return {patient: split for patient, (split,) in _named(rows).items()}


def _named(rows: Iterable[Row]) -> dict[str, set[Split]]:
    named: dict[str, set[Split]] = defaultdict(set)
    for row in rows:
        if row.set_aside is None and row.patient is not None and row.split is not None:
            named[row.patient].add(row.split)
    return named


def _facts(row: Row) -> list[Any]:
    pieces = [(piece.file, piece.content, piece.frame) for piece in row.stack.pieces] if row.stack else []
    return [
        *([pieces] if pieces else []),
        *(row.source, row.file, row.index, row.content, row.patient, row.exam, row.series),
        *(row.labels, row.split, row.set_aside, row.mask, dict(sorted(row.clinical.items()))),
        *([row.mask_content] if row.mask_content else []),
        *([row.segments.structures] if row.segments else []),
        *([row.drawn] if row.drawn else []),
    ]
