"""A DICOM SEG is sound by the judgement of another reader, and its bits lie on the very images that it names."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_judges import said_by, tool

from client.imaging.derived_object import item_of
from client.imaging.segmentation_object import (
    SegmentationWords,
    SegmentedFrame,
    segmentation_object,
    source_of,
)
from shared.model_card import RESEARCH_ONLY

MODEL = "ab" * 32
WORDS = SegmentationWords(
    notice=RESEARCH_ONLY,
    structures=("lesion", "liver"),
    model=MODEL,
    study="chest",
    version="0.1",
    made=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
ONES = [
    *(f"pydicom_test_files/{name}.dcm" for name in ("CT_small", "MR_small", "SC_rgb_rle")),
    *(f"pydicom_data/{name}.dcm" for name in ("RG1_J2KI", "OBXXXX1A_rle_2frame")),  # a radiograph, and ultrasound
]


def frames(files: list[Path]) -> list[SegmentedFrame]:
    """Real images, each with a mask of its own."""
    found = []
    for number, file in enumerate(files):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        mask = np.zeros((header.Rows, header.Columns), np.uint8)
        mask[number + 1 : number + 9, 3:8], mask[20:23, 10:15] = 1, 2
        found.append(SegmentedFrame(source_of(file.read_bytes()), 0, mask))
    return found


@pytest.mark.parametrize("name", ["series", *ONES])
def test_another_reader_finds_no_error(shared_data: Path, tmp_path: Path, name: str) -> None:
    checker, dicom = tool("dciodvfy", "dicom3tools"), shared_data / "dicom"
    series = sorted((dicom / "mr_series_24").glob("*.dcm"))[:3]
    files = series if name == "series" else [dicom / name]
    (tmp_path / "seg.dcm").write_bytes(segmentation_object(frames(files), WORDS))
    judged = said_by(checker, tmp_path / "seg.dcm")
    assert "Segmentation" in judged
    assert "Error" not in judged, judged


def test_the_bits_are_those_of_the_masks_on_the_images_named(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "dicom" / "mr_series_24").glob("*.dcm"))[:3]
    images = frames(files)
    images[1].mask[:] = 0
    (tmp_path / "seg.dcm").write_bytes(segmentation_object(images, WORDS))
    found, sources = pydicom.dcmread(tmp_path / "seg.dcm"), [pydicom.dcmread(file) for file in files]
    assert found.NumberOfFrames == 4  # two structures on two images; what is nowhere found is left out
    for bits, group in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = [source.SOPInstanceUID for source in sources].index(uid)
        assert (bits == (images[at].mask == number)).all()
        assert group.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(sources[at].ImagePositionPatient)
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[name].value == sources[0][name].value
    assert found.SeriesDescription == found.ContentDescription == RESEARCH_ONLY
    assert [one.SegmentLabel for one in found.SegmentSequence] == ["lesion", "liver"]
    assert found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == MODEL


def test_headers_that_were_written_anew_count_as_one(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom" / "mr_series_24").glob("*.dcm"))[:2]

    def other(**elements: object) -> SegmentedFrame:
        image = frames(files)[1]
        for name, value in elements.items():
            setattr(image.header, name, value)
        return image

    first, _ = frames(files)
    turn, spacing = first.header.ImageOrientationPatient, first.header.PixelSpacing
    assert first.goes_with(other(ImageOrientationPatient=[round(float(part), 4) + 4e-5 for part in turn]))
    assert first.goes_with(other(PixelSpacing=[float(step) + 5e-4 for step in spacing]))
    assert not first.goes_with(other(ImageOrientationPatient=[1, 0, 0, 0, 0.999, 0.0447]))
    assert not first.goes_with(other(PixelSpacing=[float(step) + 5e-3 for step in spacing]))
    assert not first.goes_with(other(FrameOfReferenceUID="1.2.3"))
    assert not first.goes_with(other(SeriesInstanceUID="1.2.3"))
    assert not first.goes_with(other(ImagePositionPatient=None))


def test_a_mask_of_nothing_is_an_object_all_the_same(shared_data: Path, tmp_path: Path) -> None:
    (image,) = frames([shared_data / "dicom" / "pydicom_test_files" / "CT_small.dcm"])
    image.mask[:] = 0
    (tmp_path / "seg.dcm").write_bytes(segmentation_object([image], WORDS))
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (found.NumberOfFrames, found.pixel_array.any()) == (1, False)


@pytest.mark.parametrize("of_each", [True, False])
def test_a_slice_is_as_thick_as_its_own_functional_groups_say(shared_data: Path, of_each: bool) -> None:
    """Enhanced images say it there, and not in the header (PS3.3 C.7.6.16.2.1)."""
    (image,) = frames([shared_data / "dicom" / "pydicom_test_files" / "CT_small.dcm"])
    header, plane = image.header, image.plane
    assert plane is not None
    measures = item_of(PixelSpacing=list(plane.spacing_mm), SliceThickness=2.5)
    del header.SliceThickness
    name = "PerFrameFunctionalGroupsSequence" if of_each else "SharedFunctionalGroupsSequence"
    setattr(header, name, [item_of(PixelMeasuresSequence=[measures])])
    found = pydicom.dcmread(BytesIO(segmentation_object([image], WORDS)))
    (group,) = found.SharedFunctionalGroupsSequence
    assert group.PixelMeasuresSequence[0].SliceThickness == 2.5
