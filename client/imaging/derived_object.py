"""What every DICOM object that is made of an exam has in common: whose it is, who made it, and how it is written.

Patient and exam are those of the exam's own header, as they stand there; the object is a new series of the same exam.
Its UIDs follow from the exam, the model and the files: written anew it is the same object, which a PACS keeps once.
"""

import io
import uuid
from collections.abc import Iterable
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

OURS = "99WARDROUND"
_OURS = uuid.uuid5(uuid.NAMESPACE_DNS, "wardround")
OF_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
OF_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")


def derived(
    header: Dataset,
    *,
    sop_class: str,
    modality: str,
    notice: str,
    model: str,
    files: Iterable[str],
    version: str,
    made: datetime,
) -> Dataset:
    """A new object of the exam that a header is of.

    Args:
        header: of one of its images.
        sop_class: of the object.
        modality: of its series.
        notice: what the series says of itself.
        model: SHA-256 of the model file.
        files: SHA-256 of the files that it is made of, and whatever tells it from others of the same files.
        version: of this software.
        made: the time.
    """
    found = Dataset()
    for name in (*OF_PATIENT, *OF_STUDY):
        setattr(found, name, header.get(name, ""))
    found.SpecificCharacterSet = header.get("SpecificCharacterSet") or "ISO_IR 192"
    made_of = (str(found.StudyInstanceUID), model, sop_class, *sorted(files))
    found.SOPClassUID, found.SOPInstanceUID = sop_class, uid_of("instance", *made_of)
    found.SeriesInstanceUID, found.SeriesNumber, found.InstanceNumber = uid_of("series", *made_of), 1, 1
    found.Modality, found.SeriesDescription = modality, notice
    found.Manufacturer, found.ManufacturerModelName = "Wardround", "wardround predict"
    found.DeviceSerialNumber, found.SoftwareVersions = model[:16], version
    found.ContentDate, found.ContentTime = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    return found


def uid_of(*parts: str) -> UID:
    """The UID that follows from some words, none of which has a line's end: a UUIDv5 as UID (PS3.5, B.2)."""
    return UID(f"2.25.{uuid.uuid5(_OURS, chr(10).join(parts)).int}")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning[:64]
    return item


def item_of(**elements: object) -> Dataset:
    """One item of a sequence, its elements by keyword."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def as_file(found: Dataset) -> bytes:
    """The object as a DICOM file."""
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    written = io.BytesIO()
    found.save_as(written, enforce_file_format=True)
    return written.getvalue()
