"""Decides how a picture becomes a DICOM file: the attributes of CR (PS3.3 A.2) and DX (A.26).

Every file says that it is synthetic, in its study description, its comments and its patient name.
Which exams exist and where files lie is `archive`'s matter.
"""

import io
import uuid
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from deploy.phantom.hospitals import Hospital

SYNTHETIC = "SYNTHETIC PHANTOM, NOT A PATIENT"


@dataclass(frozen=True)
class Exam:
    """What the file of one picture says about itself.

    Attributes:
        patient: invented patient number.
        birth: date of birth of the invented patient.
        sex: ``F`` or ``M``.
        accession: number of the exam in the hospital's books.
        day: date of the exam.
        number: running number of the exam at the hospital.
        study_uid: UID of the DICOM study.
        series_uid: UID of its only series.
        instance_uid: UID of its only instance.
    """

    patient: str
    birth: date
    sex: str
    accession: str
    day: date
    number: int
    study_uid: str
    series_uid: str
    instance_uid: str

    @property
    def age(self) -> int:
        """Full years at the day of the exam."""
        return self.day.year - self.birth.year - ((self.day.month, self.day.day) < (self.birth.month, self.birth.day))


def draw_uid(rng: np.random.Generator) -> str:
    """A UID derived from a random UUID (PS3.5 B.2), the same for the same generator state."""
    return f"2.25.{uuid.UUID(bytes=rng.bytes(16), version=4).int}"


def encode(
    exam: Exam,
    hospital: Hospital,
    stored: npt.NDArray[np.uint16],
    *,
    field: npt.NDArray[np.int64],
    window: npt.NDArray[np.float64],
) -> bytes:
    """The bytes of the DICOM file of one picture.

    Args:
        exam: identity and dates.
        hospital: the machine and its habits.
        stored: uint16 of shape (rows, columns), dense tissue bright; inverted here for MONOCHROME1.
        field: collimated field as (top, bottom, left, right) in pixels.
        window: (low, high) stored values that fill the grey scale.
    """
    dataset = Dataset()
    _identify(dataset, exam, hospital)
    _equip(dataset, hospital)
    _picture(dataset, hospital, stored)
    _show(dataset, hospital, window)
    if hospital.modality == "DX":
        _digital(dataset, hospital)
        _collimate(dataset, hospital, field)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if hospital.implicit else ExplicitVRLittleEndian
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _identify(dataset: Dataset, exam: Exam, hospital: Hospital) -> None:
    """Patient, General Study, General Series, General Image and SOP Common modules."""
    dx = hospital.modality == "DX"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation if dx else ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = exam.instance_uid
    dataset.StudyInstanceUID = exam.study_uid
    dataset.SeriesInstanceUID = exam.series_uid
    dataset.Modality = hospital.modality
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = exam.day.strftime("%Y%m%d")
    dataset.StudyTime = dataset.ContentTime = f"{8 + exam.number % 10:02d}{exam.number * 7 % 60:02d}00"
    dataset.AccessionNumber = exam.accession
    dataset.StudyID = str(exam.number)
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = SYNTHETIC
    dataset.ImageComments = SYNTHETIC
    dataset.SeriesDescription = f"CHEST {hospital.view}"
    dataset.PatientName = f"SYNTHETIC^{exam.patient}"
    dataset.PatientID = exam.patient
    dataset.PatientBirthDate = exam.birth.strftime("%Y%m%d")
    dataset.PatientSex = exam.sex
    dataset.PatientAge = f"{exam.age:03d}Y"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ImageType = ["DERIVED", "PRIMARY"]


def _equip(dataset: Dataset, hospital: Hospital) -> None:
    """General Equipment, CR Series and DX Positioning modules."""
    dataset.Manufacturer = hospital.manufacturer
    dataset.ManufacturerModelName = hospital.machine
    dataset.InstitutionName = hospital.institution
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = hospital.view
    dataset.KVP = 120 if hospital.view == "PA" else 90


def _picture(dataset: Dataset, hospital: Hospital, stored: npt.NDArray[np.uint16]) -> None:
    """Image Pixel module and the pixel spacing at the detector."""
    top = 2**hospital.bits - 1
    pixels = stored if hospital.photometric == "MONOCHROME2" else (top - stored).astype(np.uint16)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = hospital.photometric
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = hospital.bits
    dataset.HighBit = hospital.bits - 1
    dataset.PixelRepresentation = 0
    dataset.ImagerPixelSpacing = [hospital.spacing_mm, hospital.spacing_mm]
    if hospital.modality == "CR":
        dataset.PixelSpacing = [hospital.spacing_mm, hospital.spacing_mm]
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _show(dataset: Dataset, hospital: Hospital, window: npt.NDArray[np.float64]) -> None:
    """Modality LUT and VOI LUT modules; the window is in rescaled values (PS3.3 C.11.2.1.2)."""
    slope, intercept = hospital.rescale
    if hospital.photometric == "MONOCHROME1":
        window = 2**hospital.bits - 1 - window[::-1]
    low, high = window * slope + intercept
    centre, width = round((low + high + 1) / 2, 1), round(max(high - low, 1) + 1, 1)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "US"
    dataset.WindowCenter, dataset.WindowWidth = centre, width
    if hospital.windows > 1:
        dataset.WindowCenter, dataset.WindowWidth = [centre, centre], [width, round(0.7 * width, 1)]
        dataset.WindowCenterWidthExplanation = ["NORMAL", "HARD"]


def _digital(dataset: Dataset, hospital: Hospital) -> None:
    """DX Series, DX Anatomy Imaged, DX Image, DX Detector and Acquisition Context modules."""
    chest = Dataset()
    chest.CodeValue, chest.CodingSchemeDesignator, chest.CodeMeaning = "51185008", "SCT", "Chest"  # PS3.16 CID 4031
    bright = hospital.photometric == "MONOCHROME2"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = [chest]
    dataset.AcquisitionContextSequence = []
    dataset.DetectorType = "SCINTILLATOR"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if bright else 1
    dataset.PresentationLUTShape = "IDENTITY" if bright else "INVERSE"


def _collimate(dataset: Dataset, hospital: Hospital, field: npt.NDArray[np.int64]) -> None:
    """X-Ray Collimator module and, where the border is blackened, Display Shutter; edges count from 1."""
    top, bottom, left, right = (int(edge) for edge in field)
    prefixes = ("Collimator", "Shutter") if hospital.shutter else ("Collimator",)
    for prefix in prefixes:
        setattr(dataset, f"{prefix}Shape", "RECTANGULAR")
        setattr(dataset, f"{prefix}LeftVerticalEdge", left + 1)
        setattr(dataset, f"{prefix}RightVerticalEdge", right)
        setattr(dataset, f"{prefix}UpperHorizontalEdge", top + 1)
        setattr(dataset, f"{prefix}LowerHorizontalEdge", bottom)
