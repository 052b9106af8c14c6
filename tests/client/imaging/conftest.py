"""Small synthetic images: DICOM of every kind that a hospital sends, pictures and array files."""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.study import TaskSpec


@pytest.fixture
def binary() -> TaskSpec:
    return TaskSpec(classes=("Pneumonia",))


@pytest.fixture
def multiclass() -> TaskSpec:
    return TaskSpec(mode="multiclass", classes=("nv", "mel", "bkl"))


@pytest.fixture
def multilabel() -> TaskSpec:
    return TaskSpec(mode="multilabel", classes=("Mass", "Effusion", "Nodule"))


@pytest.fixture
def salt() -> bytes:
    return bytes(range(32))


@pytest.fixture
def make_dicom() -> Callable[..., Dataset]:
    """A valid CR image around the given stored values; keywords set or (None) remove elements."""

    def make(stored: np.ndarray | None = None, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
        stored = np.arange(64, dtype=np.uint16).reshape(8, 8) if stored is None else stored
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = syntax
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.PatientID, dataset.PatientName, dataset.AccessionNumber = "P-1", "Planted^Name", "A-1"
        dataset.Modality = "CR"
        dataset.Rows, dataset.Columns = stored.shape[:2]
        dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
        if stored.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
        bits = 8 * stored.dtype.itemsize
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture
def dicom_bytes(make_dicom: Callable[..., Dataset]) -> Callable[..., bytes]:
    """The file of `make_dicom`'s image."""

    def encode(*args: Any, **kwargs: Any) -> bytes:
        stream = BytesIO()
        make_dicom(*args, **kwargs).save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return encode


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """A CSV table from its columns and lines."""

    def write(columns: Sequence[str], *lines: Sequence[object], name: str = "labels.csv") -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *lines])
        return path

    return write


@pytest.fixture
def write_npz(tmp_path: Path) -> Callable[..., Path]:
    """An .npz file from its arrays."""

    def write(name: str = "images.npz", **arrays: Any) -> Path:
        path = tmp_path / name
        np.savez_compressed(path, **arrays)
        return path

    return write


@pytest.fixture
def flat_arrays() -> Mapping[str, np.ndarray]:
    """60 images of 20 patients, three each, in the flat form."""
    rng = np.random.default_rng(7)
    return {
        "images": rng.integers(0, 256, (60, 12, 12), dtype=np.uint8),
        "labels": np.tile(np.array([0, 1, 1], dtype=np.uint8), 20),
        "patient": np.repeat([f"patient-{number}" for number in range(20)], 3),
    }
