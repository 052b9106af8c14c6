"""The decoded images of a site, kept as memory maps between studies and restarts.

Decides when a cache entry may be used (its key covers the catalogue, the image size and channels,
and the decoders' versions), and that an entry is there whole or not at all. What an image is and how
it is decoded is left to the sources. Labels are not cached; they come from the catalogue.

    CACHE/.lock                     one builder at a time
    CACHE/.building/                an entry in the making; swept by the next builder
    CACHE/<key>/{train,validation,test}.npy, entry.json
    CACHE/<key>/{train,validation,test}.masks.npy    where the study looks for masks
"""

import errno
import fcntl
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from client.imaging.ahead import ahead
from client.imaging.array_file import ArrayFile, open_array
from client.imaging.catalogue import Catalogue, Row
from client.imaging.clinical import as_vector
from client.imaging.crew import hands
from client.imaging.doubtful import without_doubtful
from client.imaging.examples import Examples, SiteData, Split
from client.imaging.fit import fit, fit_mask
from client.imaging.label_settings import AS_IT_STANDS, LabelSettings
from client.imaging.masks import Decoded, decode, shown, with_shown
from client.imaging.reasons import Reason
from client.imaging.settings import DataSettings
from client.imaging.sources import Source, open_source
from client.imaging.traits import traits_of
from client.imaging.unlabelled import named
from client.work.cache_room import CacheRoom
from shared.canonical import canonical, digest
from shared.clinical import Columns
from shared.durable import fsync_folder, rename_durably, write_atomically
from shared.errors import DiskFull, ResourceError
from shared.fields import Digest
from shared.images import ImageSpec
from shared.section import Section
from shared.study import TaskSpec
from shared.subgroups import TRAITS, UNSTATED, VALUES

_DECIDE = ("numpy", "pillow", "pydicom", "pylibjpeg-openjpeg", "python-gdcm")  # the pixels
_DECIDE_ALSO = {"nifti": "nibabel"}  # by source
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Entry(Section):
    """entry.json: what the arrays hold. `failed` are positions in the catalogue's used rows; `shown` of the others says
    which structures the masks show."""

    version: Literal[1] = 1
    key: Digest
    counts: dict[Split, int]
    failed: dict[int, Reason]
    shown: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class _Form:
    """What of each image the arrays hold: it, and its mask where the study looks for masks."""

    images: ImageSpec
    task: TaskSpec

    @property
    def masked(self) -> bool:
        return self.task.kind == "segmentation"

    @property
    def image(self) -> tuple[int, ...]:
        return self.images.shape

    @property
    def mask(self) -> tuple[int, ...]:
        return self.images.grid

    @property
    def bytes_each(self) -> int:
        return 2 * (math.prod(self.image) + self.masked * math.prod(self.mask))


def prepare(
    settings: DataSettings,
    *,
    task: TaskSpec,
    images: ImageSpec,
    salt: bytes,
    base: Path,
    cache: Path,
    labels: LabelSettings = AS_IT_STANDS,
    clinical: Columns | None = None,
    screen: Callable[[Row], Reason | None] | None = None,
    note: Callable[[tuple[Row, ...]], None] | None = None,
    room: CacheRoom | None = None,
) -> SiteData:
    """Catalogue a site's images and bring them into the study's shape, from the cache where it holds them.

    Args:
        settings: the `[data]` table of site.toml.
        task: the study's classes.
        images: what the study's model sees.
        salt: the federation's salt, at least 16 bytes.
        base: the folder that relative paths of the settings count from.
        cache: the site's cache folder, made where absent; it holds patient images.
        labels: the `[labels]` table of site.toml.
        clinical: the study's clinical columns, which then stand beside the images.
        screen: why a usable image is not used all the same, if it is not (`client/imaging/screening.py`).
        note: told the rows that are used.
        room: what the site gives to the cache, and the study that the images are for.

    Returns:
        The three splits; each may be empty, and nothing is raised for that.

    Raises:
        ConfigError: the labels, their mapping or the array file cannot be used.
        ResourceError: images are absent, or the disk of the cache is full.
    """
    source = open_source(settings, task=task, salt=salt, base=base, images=images, labels=labels, clinical=clinical)
    return fill(
        source,
        settings,
        task=task,
        images=images,
        cache=cache,
        clinical=clinical,
        screen=screen,
        note=note,
        room=room,
    )


def fill(
    source: Source,
    settings: DataSettings,
    *,
    task: TaskSpec,
    images: ImageSpec,
    cache: Path,
    clinical: Columns | None = None,
    screen: Callable[[Row], Reason | None] | None = None,
    note: Callable[[tuple[Row, ...]], None] | None = None,
    room: CacheRoom | None = None,
) -> SiteData:
    """What `prepare` does with a source that is open."""
    rows = without_doubtful(named(source.rows(), task), most_exams=settings.exams_per_patient)
    shares = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    catalogue = Catalogue.of(rows, **shares, labels_unused=source.labels_unused)
    catalogue = catalogue if screen is None else catalogue.screened(screen)
    form = _Form(images, task)
    entry = _obtain(cache, catalogue, source, form, room)
    if room is not None:
        room.note_use(entry.key)
    decoded = catalogue.without(entry.failed)
    if entry.shown is not None:
        decoded = replace(decoded, rows=with_shown(decoded.rows, entry.shown))
    if note is not None:
        note(decoded.used)
    parts = {split: _examples(cache / entry.key, decoded.used, split, form) for split in Split}
    splits = {split: _joined(part, decoded.used, split, clinical) for split, part in parts.items()}
    if task.subgroups:
        splits[Split.TEST] = _told_apart(splits[Split.TEST], decoded.used, clinical or {})
    return SiteData(
        train=splits[Split.TRAIN],
        validation=splits[Split.VALIDATION],
        test=splits[Split.TEST],
        manifest=decoded.digest(),
        counts=decoded.counts(task),
    )


def cache_key(catalogue: Catalogue, form: _Form) -> str:
    """SHA-256 (hex) over everything that decides the cached arrays."""
    decides = {
        "catalogue": catalogue.digest(),
        "images": form.images.model_dump(mode="json", exclude={"augment", "patch"}),
        "software": {name: version(name) for name in (*_DECIDE, *_of_sources(catalogue))},
        "version": 4,
    }
    return digest(canonical(decides | ({"structures": len(form.task.classes)} if form.masked else {})))


def _of_sources(catalogue: Catalogue) -> set[str]:
    return {_DECIDE_ALSO[row.source] for row in catalogue.rows if row.source in _DECIDE_ALSO}


def _obtain(cache: Path, catalogue: Catalogue, source: Source, form: _Form, room: CacheRoom | None) -> _Entry:
    key = cache_key(catalogue, form)
    used = catalogue.used
    try:
        with _alone(cache):
            entry = _whole(cache / key, key, form)
            if entry is None:
                if room is not None:
                    room.make(len(used) * form.bytes_each)
                _check_space(cache, len(used) * form.bytes_each)
                entry = _publish(cache, key, used, decode(source, used, form.task), form)
            return entry
    except OSError as error:
        raise _refused(error) from None


def _publish(cache: Path, key: str, rows: tuple[Row, ...], decoded: Iterable[Decoded | Reason], form: _Form) -> _Entry:
    building = cache / ".building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700)
    try:
        entry = _build(building, key, rows, decoded, form)
        write_atomically(
            building / "entry.json", canonical(entry.model_dump(mode="json", exclude_none=True)), mode=0o600
        )
        fsync_folder(building)
        shutil.rmtree(cache / key, ignore_errors=True)
        rename_durably(building, cache / key)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return entry


def _build(folder: Path, key: str, rows: tuple[Row, ...], decoded: Iterable[Decoded | Reason], form: _Form) -> _Entry:
    counts = dict.fromkeys(Split, 0)
    failed: dict[int, Reason] = {}
    flags: list[tuple[int, ...]] = []
    with ExitStack() as stack:
        files = {split: stack.enter_context(ArrayFile(_file(folder, split), form.image)) for split in Split}
        masks = {
            split: stack.enter_context(ArrayFile(_masks_file(folder, split), form.mask))
            for split in (Split if form.masked else ())
        }
        fitted = ahead(partial(_fitted, images=form.images), decoded, threads=hands())
        for position, (row, found) in enumerate(zip(rows, fitted, strict=True)):
            if isinstance(found, Reason):
                failed[position] = found
                continue
            assert row.split is not None
            files[row.split].append(found.pixels)
            counts[row.split] += 1
            if found.mask is not None:
                masks[row.split].append(found.mask)
                flags.append(shown(found.mask, form.task))
    return _Entry(key=key, counts=counts, failed=failed, shown=tuple(flags) if form.masked else None)


def _fitted(found: Decoded | Reason, images: ImageSpec) -> Decoded | Reason:
    if isinstance(found, Reason):
        return found
    return Decoded(fit(found.pixels, images), None if found.mask is None else fit_mask(found.mask, images))


def _whole(folder: Path, key: str, form: _Form) -> _Entry | None:
    """The entry of a folder, or None if it is absent, of another key, or damaged."""
    try:
        entry = _Entry.model_validate_json((folder / "entry.json").read_bytes())
        for split in Split:
            open_array(_file(folder, split), count=entry.counts[split], shape=form.image)
            if form.masked:
                open_array(_masks_file(folder, split), count=entry.counts[split], shape=form.mask)
    except (OSError, ValueError, KeyError, EOFError, ValidationError):
        return None
    return entry if entry.key == key else None


def _examples(folder: Path, rows: tuple[Row, ...], split: Split, form: _Form) -> Examples:
    chosen = [row for row in rows if row.split is split]
    masks = open_array(_masks_file(folder, split), count=len(chosen), shape=form.mask) if form.masked else None
    return Examples(
        images=open_array(_file(folder, split), count=len(chosen), shape=form.image),
        labels=_labels(chosen, form.task),
        patients=_dense([row.patient or "" for row in chosen]),
        masks=masks,
    )


def _joined(part: Examples, rows: tuple[Row, ...], split: Split, columns: Columns | None) -> Examples:
    """The same examples with the study's clinical columns beside them, if it has any."""
    if not columns:
        return part
    values = [as_vector(row.clinical, columns) for row in rows if row.split is split]
    return replace(part, clinical=np.array(values, dtype=np.float32).reshape(len(part), len(columns)))


def _told_apart(part: Examples, rows: tuple[Row, ...], columns: Columns) -> Examples:
    """The same test examples with what their patients are told apart by."""
    own = [row for row in rows if row.split is Split.TEST]
    said = [traits_of(row.traits, row.about.vendor if row.about else UNSTATED, row.clinical, columns) for row in own]
    places = [[VALUES[trait].index(words[trait]) for trait in TRAITS] for words in said]
    return replace(part, traits=np.array(places, dtype=np.int8).reshape(len(part), len(TRAITS)))


def _labels(rows: list[Row], task: TaskSpec) -> NDArray[np.int64]:
    flags = task.kind == "segmentation" or task.mode == "multilabel"
    labels = np.array([row.labels for row in rows], dtype=np.int64)
    labels = labels.reshape(len(rows), len(task.classes) if flags else 1)
    return labels if flags else labels[:, 0].copy()


def _dense(patients: list[str]) -> NDArray[np.int64]:
    numbers: Mapping[str, int] = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    return np.array([numbers[patient] for patient in patients], dtype=np.int64)


def _file(folder: Path, split: Split) -> Path:
    return folder / f"{split.value}.npy"


def _masks_file(folder: Path, split: Split) -> Path:
    return folder / f"{split.value}.masks.npy"


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (cache / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel if this process dies
        yield


def _check_space(cache: Path, needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise DiskFull(
            f"The image cache needs {needed / 1e6:.0f} MB and its disk has {free / 1e6:.0f} MB free.",
            remedy="Free space, or remove old entries of the site's cache folder.",
        )


def _refused(error: OSError) -> ResourceError:
    if error.errno in _FULL:
        return DiskFull(
            "The disk of the image cache is full.", remedy="Free space, or remove old entries of the cache folder."
        )
    return ResourceError(
        f"The images or their cache cannot be read or written ({type(error).__name__}).",
        remedy="Check that the site's user may read data.folder or data.file and write the cache folder.",
    )
