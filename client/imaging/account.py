"""The account of a site's images: how many, and why some are not used.

Decides what is counted. Every file is counted once, as used or by the one reason that set it aside; the rest
is about the images that are used. Counts and fixed words alone: no patient, no file and no text of a
header can stand in an account.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from client.imaging.about import OTHER, UNSTATED, About
from client.imaging.absent import absent_classes
from client.imaging.catalogue import Catalogue, Row, true_classes
from client.imaging.clinical import Missing
from client.imaging.examples import Split
from client.imaging.reasons import MEANING, Reason
from shared.section import Section
from shared.study import TaskSpec

SMALL_CLASS = 10  # patients of a class in a split; with fewer, a figure about them says little


class Aside(Section):
    """Files set aside for one reason."""

    reason: Reason
    files: int
    meaning: str


class Part(Section):
    """The images used in one split."""

    images: int
    patients: int
    classes: dict[str, int]


class Account(Section):
    """What a site has.

    Attributes:
        files: in the folder, but for masks; of an array file, its images.
        masks: files that the label table names as masks of others.
        used: files of which an image is used.
        images: used; a frame counts as one, and so does a volume.
        set_aside: the others, the most frequent reason first.
        crashed, hung: files that ended their decoder, or had it ended.
        patients, exams, series: of the images used.
        transfer_syntaxes, modalities, vendors, views, marks: files used, by what their headers say.
        burned_in_text: files used whose pixels may hold text: `declared` by the header, or `possible`.
        clinical: by clinical column of the study, images used with a value (`known`) and without one, by reason.
        classes: patients by class; None where no study says what the labels mean.
        splits: None where no federation decides them, or where the labels contradict themselves.
        small_classes: splits with fewer than `SMALL_CLASS` patients of a class, as split and class.
        absent_classes: those of which no patient is for training, though others are.
        train_only_advised: whether every class trains and one is small in validation or test, so that figures would say
            little.
    """

    files: int
    masks: int
    used: int
    images: int
    set_aside: tuple[Aside, ...]
    crashed: int
    hung: int
    duplicates: int
    patients: int
    exams: int
    series: int
    transfer_syntaxes: dict[str, int]
    modalities: dict[str, int]
    vendors: dict[str, int]
    views: dict[str, int]
    marks: dict[str, int]
    burned_in_text: dict[str, int]
    clinical: dict[str, dict[str, int]]
    classes: dict[str, int] | None
    splits: dict[Split, Part] | None
    small_classes: tuple[tuple[Split, str], ...]
    absent_classes: tuple[str, ...]
    train_only_advised: bool
    patients_across_splits: int
    labels_unmapped: int
    labels_unused: int


def account(catalogue: Catalogue, *, task: TaskSpec | None, split: bool, crossing: int = 0, masks: int = 0) -> Account:
    """Count a catalogue.

    Args:
        catalogue: after decoding, so that what cannot be decoded is set aside.
        task: what the labels mean, if a study says so.
        split: whether the splits of the rows are those that a study would have.
        crossing: patients whom the labels put into several splits.
        masks: files beside the images that are masks.
    """
    used, files = catalogue.used, _by_file(catalogue.rows)
    reasons = Counter(reason for reason in files.values() if reason is not None)
    abouts = list({file: row.about or About() for row in used for file in _files(row)}.values())
    parts = {part: [row for row in used if row.split is part] for part in Split} if split else {}
    small = tuple(_small(parts, task)) if task else ()
    training = _classes(parts.get(Split.TRAIN, ()), task) if task else {}
    absent = absent_classes(training, task) if task else ()
    return Account(
        files=len(files),
        masks=masks,
        used=len(abouts),
        images=len(used),
        set_aside=tuple(Aside(reason=r, files=n, meaning=MEANING[r]) for r, n in reasons.most_common()),
        crashed=reasons[Reason.DECODER_CRASHED],
        hung=reasons[Reason.DECODER_HUNG],
        duplicates=reasons[Reason.DUPLICATE],
        patients=_different(row.patient for row in used),
        exams=_different(row.exam for row in used),
        series=_different(row.series for row in used),
        transfer_syntaxes=_tally(abouts, lambda about: [about.syntax]),
        modalities=_tally(abouts, lambda about: [about.modality]),
        vendors=_tally(abouts, lambda about: [about.vendor]),
        views=_tally(abouts, lambda about: [about.view]),
        marks=_tally(abouts, lambda about: about.marks),
        burned_in_text={
            "declared": sum(about.burned_in == "yes" for about in abouts),
            "possible": sum(about.burned_in == "possible" for about in abouts),
        },
        clinical=_known(used),
        classes=_classes(used, task) if task else None,
        splits={part: _part(rows, task) for part, rows in parts.items()} if split else None,
        small_classes=small,
        absent_classes=absent,
        train_only_advised=any(training.values()) and not absent and any(part is not Split.TRAIN for part, _ in small),
        patients_across_splits=crossing,
        labels_unmapped=reasons[Reason.LABEL_UNKNOWN],
        labels_unused=catalogue.labels_unused,
    )


def _by_file(rows: Iterable[Row]) -> dict[tuple[str, int], Reason | None]:
    """Why each file is not used; None if any image of it is."""
    found: dict[tuple[str, int], Reason | None] = {}
    for row in rows:
        for file in _files(row):
            known = found.get(file, row.set_aside)
            found[file] = known if row.set_aside else None
    return found


def _files(row: Row) -> list[tuple[str, int]]:
    return [(file, row.index if row.source == "npz" else 0) for file in row.files]


def _tally(abouts: Iterable[About], words: Callable[[About], Sequence[str]]) -> dict[str, int]:
    """Files by word, the most frequent first; what is another or left unsaid last."""
    counts = Counter(word for about in abouts for word in words(about))
    return dict(sorted(counts.items(), key=lambda item: (item[0] in (OTHER, UNSTATED), -item[1], item[0])))


def _known(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name, value in row.clinical.items():
            counts[name][value.value if isinstance(value, Missing) else "known"] += 1
    return {name: dict(sorted(found.items())) for name, found in sorted(counts.items())}


def _different(keys: Iterable[str | None]) -> int:
    return len({key for key in keys if key is not None})


def _part(rows: Sequence[Row], task: TaskSpec | None) -> Part:
    classes = _classes(rows, task) if task else {}
    return Part(images=len(rows), patients=_different(row.patient for row in rows), classes=classes)


def _classes(rows: Iterable[Row], task: TaskSpec) -> dict[str, int]:
    """Patients by class, those of no class under `negative`; a patient may count in several."""
    patients: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        assert row.labels is not None and row.patient is not None
        for name in true_classes(row.labels, task) or ("negative",):
            patients[name].add(row.patient)
    return {name: len(patients[name]) for name in _names(task)}


def _small(parts: Mapping[Split, Sequence[Row]], task: TaskSpec) -> Iterable[tuple[Split, str]]:
    for part, rows in parts.items():
        yield from ((part, name) for name, patients in _classes(rows, task).items() if patients < SMALL_CLASS)


def _names(task: TaskSpec) -> tuple[str, ...]:
    return task.classes if task.exclusive else (*task.classes, "negative")
