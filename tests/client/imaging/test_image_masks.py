"""DICOM segmentations as masks of the single images that they name: read as `wardround predict` writes them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundMultiFrameImageStorage

from client.imaging.dicom_image_masks import DicomImageMasks
from client.imaging.image_masks import MaskedImages
from client.imaging.labels import read_labels
from client.imaging.masks import Decoded, decode
from client.imaging.reasons import Reason, SetAside
from client.imaging.segmentation_object import SegmentationWords, SegmentedFrame, segmentation_object, source_of
from client.imaging.site_table import KEYS
from client.imaging.sources import Source
from client.imaging.sources import source_of as folder_source
from client.imaging.vocabulary import Vocabulary
from shared.images import ImageSpec
from shared.study import TaskSpec

Make = Callable[..., Dataset]
FINDINGS = TaskSpec(kind="segmentation", mode="multiclass", classes=("nodule", "clip"))
NAMES = Vocabulary(FINDINGS, {"Knoten": "nodule"})
ROWS, COLUMNS = 13, 10  # frames that do not end with a byte


def saved(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def radiograph(make: Make, *, frames: int = 1, **elements: Any) -> bytes:
    """Noise; an image of several frames is ultrasound."""
    stored = np.random.default_rng(frames).integers(0, 4096, (frames, ROWS, COLUMNS)).astype(np.uint16)
    image = make(stored[0], **elements)
    if frames > 1:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
        image.Modality, image.NumberOfFrames, image.PixelData = "US", frames, stored.tobytes()
        image["PixelData"].VR = "OW"
    return saved(image)


def drawing(number: int) -> np.ndarray:
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[number + 1 : number + 5, 2:5], mask[10:12, 7:9] = 1, 2
    return mask


def segmentation(image: bytes, masks: Sequence[np.ndarray], structures: Sequence[str] = ("Knoten", "clip")) -> bytes:
    return segmentation_of([SegmentedFrame(source_of(image), n, mask) for n, mask in enumerate(masks)], structures)


def segmentation_of(frames: Sequence[SegmentedFrame], structures: Sequence[str] = ("Knoten", "clip")) -> bytes:
    words = SegmentationWords(
        notice="none",
        structures=structures,
        model="ab" * 32,
        study="s",
        version="1",
        made=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return segmentation_object(frames, words)


def opened(folder: Path, write_table: Callable[..., Path], salt: bytes) -> Source:
    table = write_table(["file", "patient"], *[(file.name, f"P-{file.stem}") for file in folder.glob("*.dcm")])
    lines = read_labels(table, None, keys=KEYS["dicom"])
    return folder_source(folder, kind="dicom", images=ImageSpec(size_px=16), salt=salt, table=lines, masks=NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def test_images_have_the_masks_that_name_them(
    folder: Path, make_dicom: Make, write_table: Callable[..., Path], salt: bytes
) -> None:
    empty = np.zeros((ROWS, COLUMNS), np.uint8)
    drawn = {"a": [drawing(0)], "b": [empty], "c": [drawing(1), empty, drawing(3)]}
    for name, masks in drawn.items():
        image = radiograph(make_dicom, frames=len(masks), SOPInstanceUID=f"1.2.{ord(name)}")
        (folder / f"{name}.dcm").write_bytes(image)
        (folder / f"{name}.seg").write_bytes(segmentation(image, masks))
    source = opened(folder, write_table, salt)
    rows = list(source.rows())
    assert [(row.file, row.index, row.set_aside) for row in rows] == [
        *(("a.dcm", 0, None), ("b.dcm", 0, None), ("c.dcm", 0, None), ("c.dcm", 1, None), ("c.dcm", 2, None)),
    ]
    assert source.mask_files == 3
    found = list(decode(source, rows, FINDINGS))
    for one, wanted in zip(found, [mask for masks in drawn.values() for mask in masks], strict=True):
        assert isinstance(one, Decoded) and one.mask is not None
        np.testing.assert_array_equal(one.mask, wanted)


def test_a_segmentation_of_many_images_is_decoded_once(
    folder: Path, tmp_path: Path, make_dicom: Make, write_table: Callable[..., Path], salt: bytes
) -> None:
    masks = [drawing(0), np.zeros((ROWS, COLUMNS), np.uint8), drawing(2)]
    series = {"StudyInstanceUID": "1.3", "SeriesInstanceUID": "1.4"}
    images = [radiograph(make_dicom, SOPInstanceUID=f"1.2.{n}", **series) for n in range(3)]
    for number, image in enumerate(images):
        (folder / f"{number}.dcm").write_bytes(image)
    frames = [SegmentedFrame(source_of(image), 0, mask) for image, mask in zip(images, masks, strict=True)]
    (folder / "all.seg").write_bytes(segmentation_of(frames))
    found = opened(folder, write_table, salt)
    assert isinstance(found, MaskedImages)
    heard = ["sh", "-c", 'tee -a "$0" | "$@"', str(tmp_path / "asked"), *found._command]
    source = MaskedImages(found._folder, command=heard, names=NAMES)
    read = list(source.masks(list(source.rows())))
    for one, wanted in zip(read, masks, strict=True):
        np.testing.assert_array_equal(np.asarray(one), wanted)
    assert sum('"frames":[' in line for line in (tmp_path / "asked").read_text().splitlines()) == 1


def test_why_an_image_has_no_mask(
    folder: Path, make_dicom: Make, write_table: Callable[..., Path], salt: bytes
) -> None:
    images = {name: radiograph(make_dicom, SOPInstanceUID=f"1.2.{ord(name)}") for name in "abcd"}
    for name, image in images.items():
        (folder / f"{name}.dcm").write_bytes(image)
    (folder / "b.seg").write_bytes(segmentation(images["b"], [drawing(0)]))
    (folder / "b2.seg").write_bytes(segmentation(images["b"], [drawing(1)]))
    (folder / "c.seg").write_bytes(segmentation(images["c"], [drawing(0)], ("Rippe", "clip")))
    (folder / "d.seg").write_bytes(segmentation(images["d"], [drawing(0)[:-1]]))
    elsewhere = radiograph(make_dicom, SOPInstanceUID="1.2.3")
    (folder / "e.seg").write_bytes(segmentation(elsewhere, [drawing(0)]))
    source = opened(folder, write_table, salt)
    rows = {row.file: row for row in source.rows()}
    assert {name: row.set_aside for name, row in rows.items()} == {
        "a.dcm": Reason.NO_MASK,
        "b.dcm": Reason.MASK_SEVERAL,
        "c.dcm": Reason.MASK_UNKNOWN,
        "d.dcm": None,
        "e.seg": Reason.OTHER_OBJECT,
    }
    assert source.unmapped.shown(smallest_cell=1) == {"rippe": 1}
    assert list(decode(source, [rows["d.dcm"]], FINDINGS)) == [Reason.MASK_SIZE]


def test_one_that_does_not_name_the_image_of_each_frame_is_none(make_dicom: Make) -> None:
    sound = segmentation(radiograph(make_dicom), [drawing(0)])
    assert [frame.segment for frame in DicomImageMasks().facts(sound).drawn] == [1, 2]
    lost = dcmread(BytesIO(sound))
    del lost.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence
    with pytest.raises(SetAside, match="other_object"):
        DicomImageMasks().facts(saved(lost))
