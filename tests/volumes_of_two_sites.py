"""Two hospitals with the same CT in two forms: NIfTI files, and DICOM series of another spacing and orientation.

Each patient has one bright ball in a noisy body, in the half towards the head or in that towards the feet: the same
in the mean of all slices, so that only a network that sees the whole volume can tell the two apart.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from client.imaging.settings import DataSettings

SPLITS = ("train",) * 12 + ("validation",) * 6 + ("test",) * 6
_SIDE_MM = 64.0


def write_nifti(folder: Path, splits: Sequence[str] = SPLITS) -> DataSettings:
    """One file of 4 mm voxels per patient, its axes in the order PIR."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, split in enumerate(splits):
        image = nibabel.Nifti1Image(_body(number, spacing_mm=(4, 4, 4)).transpose(2, 1, 0), np.diag([-4.0, -4, 4, 1]))
        to = nibabel.orientations.axcodes2ornt(("P", "I", "R"))
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), to))
        nibabel.save(turned, folder / "images" / f"{number}.nii.gz")
        lines.append([f"{number}.nii.gz", number % 2, f"p{number}", split])
    _table(folder, lines)
    return DataSettings(kind="nifti", folder=folder / "images", labels=folder / "labels.csv")


def write_dicom(folder: Path, splits: Sequence[str] = SPLITS) -> DataSettings:
    """One series per patient, of 8 slices at 8 mm from the head down, with 2 mm pixels."""
    lines = []
    for number, split in enumerate(splits, start=100):
        place = folder / "images" / str(number)
        place.mkdir(parents=True)
        series = generate_uid()
        for at, values in enumerate(_body(number, spacing_mm=(8, 2, 2))[::-1]):
            dataset = _slice(values, series=series, height_mm=28.0 - 8 * at)
            dataset.save_as(place / f"{at}.dcm", enforce_file_format=True)
        lines.append([f"{number}/3.dcm", number % 2, f"p{number}", split])
    _table(folder, lines)
    return DataSettings(kind="dicom", folder=folder / "images", labels=folder / "labels.csv")


def _body(number: int, *, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(slices, rows, columns) in Hounsfield units; in patients of an odd number the ball is towards the head."""
    rng = np.random.default_rng(number)
    axes = [np.arange(_SIDE_MM / step) * step + step / 2 - _SIDE_MM / 2 for step in spacing_mm]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    centre = (16 if number % 2 else -16, *rng.uniform(-12, 12, 2))
    apart = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return (np.where(apart < 14**2, 300, -500) + rng.normal(0, 100, z.shape)).astype(np.int16)


def _slice(values: np.ndarray, *, series: str, height_mm: float) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, series, series
    dataset.PatientID, dataset.Modality = "anonymous", "CT"
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
    dataset.ImagePositionPatient = [-_SIDE_MM / 2 + 1, -_SIDE_MM / 2 + 1, height_mm]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [2, 2]
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _table(folder: Path, lines: list[list[object]]) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "patient", "split"], *lines])
