"""Which DICOM objects are images, and what their headers say of how they were made."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    MediaStorageDirectoryStorage,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    VLPhotographicImageStorage,
    XRayRadiationDoseSRStorage,
)

from client.imaging.about import About
from client.imaging.dicom import Dicom
from client.imaging.dicom_kind import about, unfit_object
from client.imaging.reasons import Reason, SetAside


def header(**elements: Any) -> Dataset:
    found = Dataset()
    found.file_meta = FileMetaDataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"SOPClassUID": KeyObjectSelectionDocumentStorage}, Reason.KEY_OBJECT),
        ({"SOPClassUID": XRayRadiationDoseSRStorage}, Reason.DOSE_REPORT),
        ({"SOPClassUID": EnhancedSRStorage}, Reason.REPORT),
        ({"SOPClassUID": EncapsulatedPDFStorage}, Reason.REPORT),
        ({"SOPClassUID": SegmentationStorage}, Reason.OTHER_OBJECT),
        ({"SOPClassUID": RTDoseStorage}, Reason.OTHER_OBJECT),
        ({"Modality": "KO"}, Reason.KEY_OBJECT),
        ({"Modality": "SR", "SOPClassUID": "1.2.3"}, Reason.REPORT),
        ({"SOPClassUID": CTImageStorage, "ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, Reason.DOSE_REPORT),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "SeriesDescription": "Dose Report"}, Reason.DOSE_REPORT),
        ({"SOPClassUID": CTImageStorage, "SeriesDescription": "Thorax low dose 1.0"}, None),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, None),
        ({"SOPClassUID": VLPhotographicImageStorage}, None),
        ({}, None),
    ],
)
def test_the_object_decides(elements: dict[str, Any], reason: Reason | None) -> None:
    assert unfit_object(header(**elements)) is reason


def test_a_directory_is_known_by_its_file_meta() -> None:
    found = header()
    found.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    assert unfit_object(found) is Reason.DIRECTORY


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "PA"}, "pa"),
        ({"ViewPosition": "AP"}, "ap"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "MLO"}, "mlo"),
        ({"ViewPosition": "RLO"}, "other"),
        ({"ViewCodeSequence": [header(CodeValue="272479007")]}, "pa"),
        ({"ViewPosition": "", "ViewCodeSequence": [header(CodeValue="R-10206")]}, "ap"),
        ({}, "unstated"),
    ],
)
def test_views(elements: dict[str, Any], view: str) -> None:
    assert about(header(**elements), syntax="rle").view == view


def test_marks_and_text_in_the_pixels() -> None:
    found = about(
        header(
            ImageType=["DERIVED", "SECONDARY", "LOCALIZER"],
            PresentationIntentType="FOR PROCESSING",
            Modality="US",
            Manufacturer="G.E. Medical Systems",
        ),
        syntax="rle",
    )
    assert found.marks == ("for_processing", "localizer", "secondary", "derived")
    assert (found.modality, found.vendor, found.burned_in) == ("us", "ge", "possible")
    assert about(header(ImageType="ORIGINAL", Modality="CT", BurnedInAnnotation="YES"), syntax="rle").burned_in == "yes"


def test_no_text_of_a_header_passes_through() -> None:
    words = dict.fromkeys(("Modality", "Manufacturer", "ViewPosition", "ImageType"), "PLANTED NAME")
    assert about(header(**words), syntax="rle") == About("rle", "other", "other", "other")


def test_real_objects(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "pydicom_test_files"
    expected = {
        "rtdose.dcm": Reason.OTHER_OBJECT,
        "rtplan.dcm": Reason.NO_PIXELS,
        "waveform_ecg.dcm": Reason.NO_PIXELS,
        "test-SR.dcm": Reason.REPORT,
        "dicomdirtests/DICOMDIR-implicit": Reason.DIRECTORY,
        "crayons.icc": Reason.NOT_AN_IMAGE,
    }
    for name, reason in expected.items():
        with pytest.raises(SetAside) as caught:
            Dicom().facts((folder / name).read_bytes())
        assert caught.value.reason is reason, name
    assert Dicom().facts((folder / "dicomdirtests/77654033/CR1/6154").read_bytes()).about.view == "lateral"
