"""Which source of images a site's settings name.

Decides the type to build from `[data]`; every source gives rows and, for rows, pixels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from client.imaging.catalogue import Row
from client.imaging.clinical import ClinicalReader
from client.imaging.decoder import decoding_command
from client.imaging.folder import FolderSource
from client.imaging.form import Pixels
from client.imaging.image_masks import MaskedImages
from client.imaging.kinds import FolderKind
from client.imaging.label_settings import AS_IT_STANDS, LabelSettings
from client.imaging.labels import LabelTable, read_labels
from client.imaging.npz import ArraySource
from client.imaging.reasons import Reason
from client.imaging.rules import USUAL, Rules
from client.imaging.series import SeriesSource
from client.imaging.series_masks import SeriesMasks
from client.imaging.settings import DataSettings
from client.imaging.site_table import KEYS
from client.imaging.unmapped import Unmapped
from client.imaging.vocabulary import Vocabulary
from shared.clinical import Columns
from shared.errors import ConfigError, ResourceError
from shared.images import ImageSpec
from shared.study import TaskSpec

Kind = Literal["dicom", "nifti", "pictures", "npz"]
_VOLUMES: tuple[Kind, ...] = ("dicom", "nifti", "npz")
_MEASURED: tuple[Kind, ...] = ("dicom", "nifti")


class Source(Protocol):
    """Where images come from; `unmapped` are the words of their labels that the study does not know, after `rows`."""

    unmapped: Unmapped

    def rows(self) -> Iterator[Row]:
        """Every image found, usable or set aside, in a fixed order."""
        ...

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """For each row its pixels (uint16, as `form.Pixels`), or why it has none."""
        ...

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """For each row that names a mask its stored values (uint16, as `decode`), or why it has none."""
        ...

    @property
    def labels_unused(self) -> int:
        """Lines of the label table that nothing answered to; known after `rows`."""
        ...

    @property
    def mask_files(self) -> int:
        """Files that are masks, and so no images; known after `rows`."""
        ...


def open_source(
    settings: DataSettings,
    *,
    task: TaskSpec | None,
    salt: bytes,
    base: Path,
    labels: LabelSettings = AS_IT_STANDS,
    images: ImageSpec | None = None,
    clinical: Columns | None = None,
) -> Source:
    """Build the source that the settings name.

    Args:
        settings: the `[data]` table.
        task: the study's classes; None leaves the labels unread.
        images: what the study's model sees; None for single images of any kind.
        salt: the federation's salt.
        base: the folder that relative paths count from.
        labels: the site's dictionary, the `[labels]` table.
        clinical: the study's clinical columns.

    Raises:
        ConfigError: the label table, its mapping or the array file cannot be used, or holds nothing such as `images`.
        ResourceError: the folder or array file is not there.
    """
    images = images or ImageSpec()
    masked = task is not None and task.kind == "segmentation"
    check_kind(settings.kind, images)
    words = Vocabulary(task, labels.words) if task else None
    vocabulary = words if task and task.kind == "classification" else None
    reader = ClinicalReader(clinical, labels) if clinical else None
    if settings.kind == "npz":
        assert settings.file is not None
        return ArraySource(
            base / settings.file, vocabulary=vocabulary, salt=salt, clinical=reader, masked=masked, images=images
        )
    assert settings.images is not None and settings.labels is not None
    folder, table = base / settings.images, base / settings.labels
    if settings.pacs and not folder.is_dir():
        raise ResourceError("Nothing was pulled from the PACS yet.", remedy="Run `wardround site pull` first.")
    return source_of(
        folder,
        kind=settings.kind,
        images=images,
        table=read_labels(table, vocabulary, keys=KEYS[settings.kind], settings=labels, clinical=reader),
        skip=table,
        rules=Rules(keep=settings.keep, views=settings.views),
        salt=salt,
        masks=words if masked else None,
    )


def source_of(
    folder: Path,
    *,
    kind: FolderKind,
    images: ImageSpec,
    salt: bytes,
    table: LabelTable | None = None,
    skip: Path | None = None,
    rules: Rules = USUAL,
    masks: Vocabulary | None = None,
) -> Source:
    """The source of a folder; arguments as of `FolderSource`, `masks` the structures of a study that looks for them.

    Raises:
        ConfigError: such files hold nothing such as `images`.
        ResourceError: there is no such folder.
    """
    check_kind(kind, images)
    volume = images.grid if images.slices else None
    command = decoding_command(kind, folder, images=images)
    files = FolderSource(
        folder,
        table=table,
        skip=skip,
        source=kind,
        command=command,
        salt=salt,
        rules=rules,
        volume=volume,
        masks=_mask_command(kind, folder, images) if masks and kind != "dicom" else None,
    )
    if kind != "dicom" or (volume is None and masks is None):
        return files
    if volume is None:
        assert masks is not None
        return MaskedImages(files, command=_mask_command(kind, folder, images), names=masks)
    reader = SeriesMasks(_mask_command(kind, folder, images), names=masks, volume=volume) if masks else None
    return SeriesSource(files, command=command, volume=volume, masks=reader)


def _mask_command(kind: FolderKind, folder: Path, images: ImageSpec) -> tuple[str, ...]:
    return decoding_command(kind if kind == "pictures" else f"{kind}_masks", folder, images=images)


def check_kind(kind: Kind, images: ImageSpec) -> None:
    """Insist that such files can hold what a study's model sees.

    Raises:
        ConfigError: they never do.
    """
    if images.slices is not None and kind not in _VOLUMES:
        raise ConfigError(
            f"The study asks for volumes, and {kind} files are none.",
            remedy=f"Name images of kind {' or '.join(_VOLUMES)}; the study's model can see no others.",
        )
    if images.spacing_mm is not None and kind not in _MEASURED:
        raise ConfigError(
            f"The study asks for voxels of a size in mm, and {kind} files do not say theirs.",
            remedy=f"Name images of kind {' or '.join(_MEASURED)}, or ask for a study without images.spacing_mm.",
        )
    if images.hu is not None and kind not in _MEASURED:
        raise ConfigError(
            f"The study asks for CT in Hounsfield units, and {kind} files do not say them.",
            remedy=f"Name images of kind {' or '.join(_MEASURED)}; the study's model can see no others.",
        )
