"""One array file (.npz) with images and labels: the form of MedMNIST, or the flat form.

Decides which arrays are expected and what their codes mean. Images are streamed out of the archive
one by one, so an array larger than memory is no matter; nothing is unpickled.

    MedMNIST   {train,val,test}_{images,labels}; each image is its own patient
    flat       images, labels, and perhaps patient, split; `site` is for the benchmarks' partition
    in both    clinical columns of the study, by the site's names, such as `age` or `train_age`

For a study that looks for masks `masks` (`train_masks`, ...) stand in the place of labels.

images: uint8 or uint16, (n, h, w), (n, h, w, 1) or (n, h, w, 3); of a study of volumes as `array_volumes` says.
masks: the same of one channel, or bool, or the bits of one structure packed to (n, h * w / 8), of volumes
(n, slices * h * w / 8), as by numpy.packbits.
split: the words train, validation, test; or the codes 0 train, 1 test; or, where a 2 occurs, 0 train, 1 validation,
2 test.
"""

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.array_volumes import FORM, are_volumes, volume_fault, volume_of
from client.imaging.catalogue import Row, pseudonym
from client.imaging.clinical import Clinical, ClinicalReader
from client.imaging.examples import Split
from client.imaging.extent import Extent
from client.imaging.form import MAX_PIXELS, Pixels
from client.imaging.label_settings import fold
from client.imaging.labels import split_of
from client.imaging.npz_archive import Header, read_header, reading, sound, unusable
from client.imaging.reasons import Reason, SetAside
from client.imaging.unmapped import Unmapped
from client.imaging.vocabulary import Vocabulary
from shared.errors import ConfigError, ResourceError
from shared.images import ImageSpec

_MAX_SMALL_BYTES = 2**30  # labels, patients, splits
_PREFIXES = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}
_TWO_CODES = {0: Split.TRAIN, 1: Split.TEST}
_THREE_CODES = {0: Split.TRAIN, 1: Split.VALIDATION, 2: Split.TEST}


class ArraySource:
    """The images of one .npz file.

    Args:
        file: the archive.
        vocabulary: the study's classes; None leaves the labels unread.
        salt: the federation's salt, for pseudonyms.
        clinical: reads the study's clinical columns, if it has any.
        masked: whether an image needs a mask.
        images: what the study's model sees; None for single images.

    Raises:
        ResourceError: there is no such file.
        ConfigError: it is not an archive of arrays in one of the two forms.
    """

    labels_unused = mask_files = 0

    def __init__(
        self,
        file: Path,
        *,
        vocabulary: Vocabulary | None,
        salt: bytes,
        clinical: ClinicalReader | None = None,
        masked: bool = False,
        images: ImageSpec | None = None,
    ) -> None:
        if not file.is_file():
            raise ResourceError("The array file does not exist.", remedy="Correct data.file in site.toml.")
        self._file = file
        self._vocabulary = vocabulary
        self._salt = salt
        self._clinical = clinical
        self._masked = masked
        self._images = images or ImageSpec()
        self.unmapped = Unmapped()
        with sound("is not an .npz archive"), zipfile.ZipFile(file) as archive:
            self._names = {name.removesuffix(".npy") for name in archive.namelist()}

    def rows(self) -> Iterator[Row]:
        """One row per image, array by array."""
        content = _content(self._file)
        if "images" in self._names:
            yield from self._block("", None, content)
            return
        prefixes = [prefix for prefix in _PREFIXES if f"{prefix}_images" in self._names]
        if not prefixes:
            raise unusable("has neither `images` nor `train_images`")
        for prefix in prefixes:
            yield from self._block(f"{prefix}_", _PREFIXES[prefix], content)

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The pixels of each row, or why it has none; rows of one array come in their order."""
        volumes = self._images.slices is not None
        for name, group in groupby(rows, key=lambda row: row.file):
            header = self._header(name)
            for found in self._stream(name, list(group), header, _scaled):
                yield volume_of(found, self._images) if volumes and not isinstance(found, Reason) else found

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """The stored values of each row's mask."""
        volumes = self._images.slices is not None
        for (name, masks), group in groupby(rows, key=lambda row: (row.file, row.mask or "")):
            size = self._places(self._header(name))
            read = partial(_unpacked, size=size)
            for found in self._stream(masks, list(group), self._mask_header(masks, self._header(name)), read):
                yield volume_of(found, self._images, mask=True) if volumes and not isinstance(found, Reason) else found

    def _places(self, images: Header) -> tuple[int, ...]:
        """(h, w), or (slices, h, w) of volumes."""
        return images.item_shape if self._images.slices is not None else images.item_shape[:2]

    def _block(self, prefix: str, split: Split | None, content: str) -> Iterator[Row]:
        name = f"{prefix}images"
        count = (header := self._header(name)).shape[0]
        labels = _flat(self._small(f"{prefix}labels", count)) if self._vocabulary else [None] * count
        masks = f"{prefix}masks" if self._masked and f"{prefix}masks" in self._names else None
        patients = self._small("patient", count) if not prefix and "patient" in self._names else None
        splits = self._splits(count) if not prefix else [split] * count
        known = self._known(prefix, count)
        slices, rows, columns = header.item_shape[:3] if self._images.slices else (1, *header.item_shape[:2])
        extent = Extent((slices, rows, columns))
        for index in range(count):
            patient = f"{name}/{index}" if patients is None else str(patients[index]).strip()
            row = Row("npz", name, index, content, split=splits[index], mask=masks, clinical=next(known), extent=extent)
            yield self._row(row, patient, labels[index])

    def _known(self, prefix: str, count: int) -> Iterator[Clinical]:
        """What each image's line of the clinical arrays says; an array is called as the column, after its prefix."""
        if self._clinical is None:
            yield from ({} for _ in range(count))
            return
        names = [name for name in self._clinical.cells if f"{prefix}{name}" in self._names]
        arrays = {fold(name): self._small(f"{prefix}{name}", count) for name in names}
        for index in range(count):
            yield self._clinical.read({name: array[index] for name, array in arrays.items()})

    def _row(self, row: Row, patient: str, label: Any) -> Row:
        key = pseudonym(self._salt, patient) if patient else None
        labels, reason = None, None
        try:
            labels = self._labels(label)
        except SetAside as error:
            reason = error.reason
            self.unmapped.note(self._unknown(label), key)
        if self._masked and row.mask is None:
            reason = Reason.NO_MASK
        return replace(row, patient=key, labels=labels, set_aside=reason or (None if key else Reason.NO_PATIENT))

    def _labels(self, label: Any) -> tuple[int, ...] | None:
        if self._vocabulary is None:
            return None
        if np.ndim(label) == 0:
            return self._vocabulary.from_word(str(label))
        if len(label) != self._vocabulary.task.outputs:
            raise SetAside(Reason.LABEL_UNKNOWN)
        return self._vocabulary.from_flags([str(flag) for flag in label])

    def _unknown(self, label: Any) -> tuple[str, ...]:
        assert self._vocabulary is not None
        if np.ndim(label) == 0:
            return self._vocabulary.unknown_words(str(label))
        return self._vocabulary.unknown_flags([str(flag) for flag in label])

    def _splits(self, count: int) -> list[Split | None]:
        if "split" not in self._names:
            return [None] * count
        values = self._small("split", count)
        try:
            if values.dtype.kind in "US":
                return [split_of(str(word)) for word in values]
            codes = _THREE_CODES if 2 in values else _TWO_CODES
            return [codes[int(code)] for code in values]
        except (KeyError, SetAside):
            raise unusable("has a split that is not train, validation or test") from None

    def _header(self, name: str) -> Header:
        with reading(self._file, name) as member:
            header = read_header(member)
        shape = header.shape
        if self._images.slices is not None:
            return _of_volumes(header, name)
        if header.dtype not in (np.uint8, np.uint16) or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
            raise unusable(f"has `{name}` in another form than (n, h, w[, 1 or 3]) of uint8 or uint16")
        if not 0 < shape[1] * shape[2] <= MAX_PIXELS:
            raise unusable(f"has images in `{name}` that are empty or larger than {MAX_PIXELS} pixels")
        return header

    def _mask_header(self, name: str, images: Header) -> Header:
        with reading(self._file, name) as member:
            header = read_header(member)
        size, known = self._places(images), header.dtype in (np.uint8, np.uint16, np.bool_)
        packed = header.dtype == np.uint8 and header.item_shape == (math.ceil(math.prod(size) / 8),)
        if header.shape[:1] != images.shape[:1] or not (packed or (known and header.item_shape == size)):
            raise unusable(f"has `{name}` in another form than an integer for each place, or packed bits")
        return header

    def _small(self, name: str, count: int) -> NDArray[Any]:
        with reading(self._file, name) as member:
            header = read_header(member)
            size = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
            if size > _MAX_SMALL_BYTES or header.shape[:1] != (count,):
                raise unusable(f"has `{name}` of another length than its images, or too large")
            with sound(f"is damaged at `{name}`"):
                data = member.read(size)
        if len(data) != size:
            raise unusable(f"ends inside `{name}`")
        return np.frombuffer(data, dtype=header.dtype).reshape(header.shape)

    def _stream(
        self, name: str, rows: list[Row], header: Header, image_of: Callable[[NDArray[Any]], Pixels]
    ) -> Iterator[Pixels | Reason]:
        done = 0
        with reading(self._file, name) as member:
            read_header(member)
            for data in _items(member, header.item_bytes, [row.index for row in rows]):
                done += 1
                yield image_of(np.frombuffer(data, header.dtype).reshape(header.item_shape))
        yield from [Reason.UNREADABLE] * (len(rows) - done)


def _items(member: Any, size: int, indices: list[int]) -> Iterator[bytes]:
    position = 0
    for index in indices:
        try:
            with sound("is damaged"):
                while position < index:
                    member.read(size)
                    position += 1
                data = member.read(size)
        except ConfigError:
            return
        if len(data) != size:
            return
        position += 1
        yield data


def _scaled(image: NDArray[Any]) -> Pixels:
    if image.dtype == np.uint8:
        return image.astype(np.uint16) * np.uint16(257)
    return image.astype(np.uint16)


def _of_volumes(header: Header, name: str) -> Header:
    if header.dtype not in (np.uint8, np.uint16) or not are_volumes(header.shape):
        raise unusable(f"has no volumes in `{name}`: {FORM} of uint8 or uint16")
    if fault := volume_fault(header.item_shape):
        raise unusable(f"has volumes in `{name}` that {fault}")
    return header


def _unpacked(values: NDArray[Any], size: tuple[int, ...]) -> Pixels:
    if values.ndim == 1:
        values = np.unpackbits(values, count=math.prod(size)).reshape(size)
    return values.astype(np.uint16)


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _content(file: Path) -> str:
    with sound("cannot be read"), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
