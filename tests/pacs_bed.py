"""A real PACS for tests, with four exams of invented patients, and the files that it holds.

A-1  1 March 2024     CHEST ROUTINE     CR, chest, 3 instances
A-2  1 June 2024      Chest follow-up   CR, chest, 2 instances; CR without a body part, 1 instance
A-3  1 January 2025   KNEE              MR, knee, 2 instances
"""

import ipaddress
import shutil
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, MRImageStorage

from client.pacs.settings import PULLED
from deploy.provision import provision
from server.membership.authority import certificate_pem, issue_authority

ROOT = "1.2.826.0.1.3680043.8.498.77"
SERIES: tuple[tuple[dict[str, str], int], ...] = (
    ({"AccessionNumber": "A-1", "StudyDate": "20240301", "StudyDescription": "CHEST ROUTINE", "Modality": "CR"}, 3),
    ({"AccessionNumber": "A-2", "StudyDate": "20240601", "StudyDescription": "Chest follow-up", "Modality": "CR"}, 2),
    ({"AccessionNumber": "A-2", "StudyDate": "20240601", "StudyDescription": "Chest follow-up", "Modality": "CR"}, 1),
    ({"AccessionNumber": "A-3", "StudyDate": "20250101", "StudyDescription": "KNEE", "Modality": "MR"}, 2),
    ({"AccessionNumber": "A-4", "StudyDate": "20190501", "StudyDescription": "ECHO", "Modality": "US"}, 2),
)
PARTS = ("CHEST", "CHEST", "", "KNEE", "HEART")


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


def instances(*modalities: str) -> dict[str, bytes]:
    """The files of some modalities, or all, by the UID of their instances."""
    wanted = modalities or ("CR", "MR", "US")
    return {uid: data for modality, uid, data in _instances() if modality in wanted}


def _instances() -> Iterator[tuple[str, str, bytes]]:
    for number, ((facts, count), part) in enumerate(zip(SERIES, PARTS, strict=True)):
        exam = f"{ROOT}.{facts['AccessionNumber'][-1]}"
        for index in range(count):
            uid = f"{exam}.{number}.{index}"
            named = facts | ({"BodyPartExamined": part} if part else {})
            side = 200 if part == "HEART" else 16
            yield named["Modality"], uid, instance(uid, exam=exam, series=f"{exam}.{number}", side=side, **named)


def pixels(file: bytes) -> bytes:
    """The stored pixels of a file."""
    return bytes(dcmread(BytesIO(file)).PixelData)


def pulled(site: Path) -> dict[str, bytes]:
    """The pixels of what lies in a site's folder, by UID."""
    files = (path.read_bytes() for path in (site / PULLED).rglob("*") if path.is_file())
    return {str(dcmread(BytesIO(file)).SOPInstanceUID): pixels(file) for file in files}


def certificates(folder: Path) -> tuple[Path, Path]:
    """(certificate and key of both ends of a line on this machine, its authority), PEM files."""
    now, key, own = int(time.time()), ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    authority = issue_authority(key, name="hospital", now=now)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(
        issuer_name=authority.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pacs")]),
        public_key=own.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=authority.not_valid_before_utc,
        not_valid_after=authority.not_valid_after_utc,
    )
    shown = builder.add_extension(both, critical=False).add_extension(host, critical=False).sign(key, hashes.SHA384())
    encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem, ca = folder / "pacs.pem", folder / "ca.pem"
    pem.write_bytes(certificate_pem(shown) + own.private_bytes(*encodings))
    ca.write_bytes(certificate_pem(authority))
    return pem, ca


def join(folder: Path) -> None:
    """Give a folder with a site.toml the keys and the invitation of a site."""
    place = provision(folder / "all", name="ward", host="127.0.0.1", fleet_port=9, sites=["ward-a"], now=1_800_000_000)
    shutil.copytree(place.sites["ward-a"], folder, dirs_exist_ok=True)
    (folder / "keys").chmod(0o700)
