"""A real PACS for tests, with three exams of invented patients, and the files that it holds.

A-1  1 March 2024     CHEST ROUTINE     CR, chest, 3 instances
A-2  1 June 2024      Chest follow-up   CR, chest, 2 instances; CR without a body part, 1 instance
A-3  1 January 2025   KNEE              MR, knee, 2 instances
"""

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, MRImageStorage

from server.authority import certificate_pem, issue_authority, issue_server

ROOT = "1.2.826.0.1.3680043.8.498.77"
SERIES: tuple[tuple[dict[str, str], int], ...] = (
    ({"AccessionNumber": "A-1", "StudyDate": "20240301", "StudyDescription": "CHEST ROUTINE", "Modality": "CR"}, 3),
    ({"AccessionNumber": "A-2", "StudyDate": "20240601", "StudyDescription": "Chest follow-up", "Modality": "CR"}, 2),
    ({"AccessionNumber": "A-2", "StudyDate": "20240601", "StudyDescription": "Chest follow-up", "Modality": "CR"}, 1),
    ({"AccessionNumber": "A-3", "StudyDate": "20250101", "StudyDescription": "KNEE", "Modality": "MR"}, 2),
)
PARTS = ("CHEST", "CHEST", "", "KNEE")


def instance(uid: str, *, exam: str, series: str, side: int = 16, **elements: Any) -> bytes:
    """A file of one small image."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    mr = elements.get("Modality") == "MR"
    dataset.SOPClassUID = MRImageStorage if mr else ComputedRadiographyImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid, exam, series
    dataset.PatientID, dataset.PatientName = f"Planted-{exam[-1]}", "Planted^Name"
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    seed = sum(map(ord, uid))
    dataset.PixelData = np.random.default_rng(seed).integers(0, 60_000, (side, side), dtype=np.uint16).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def instances() -> dict[str, bytes]:
    """Every file, by the UID of its instance."""
    return dict(_instances())


def _instances() -> Iterator[tuple[str, bytes]]:
    for number, ((facts, count), part) in enumerate(zip(SERIES, PARTS, strict=True)):
        exam = f"{ROOT}.{facts['AccessionNumber'][-1]}"
        for index in range(count):
            uid = f"{exam}.{number}.{index}"
            named = facts | ({"BodyPartExamined": part} if part else {})
            yield uid, instance(uid, exam=exam, series=f"{exam}.{number}", **named)


def certificates(folder: Path) -> tuple[Path, Path]:
    """(certificate and key of a server on this machine, its authority), PEM files."""
    now, key, own = int(time.time()), ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    authority = issue_authority(key, name="hospital", now=now)
    server = issue_server(authority, key, own.public_key(), host="127.0.0.1", now=now)
    encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem, ca = folder / "server.pem", folder / "ca.pem"
    pem.write_bytes(certificate_pem(server) + own.private_bytes(*encodings))
    ca.write_bytes(certificate_pem(authority))
    return pem, ca
