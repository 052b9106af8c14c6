"""Decides how the four invented hospitals differ: their patients, their machines, their habits.

What a trait does to a picture is `acquisition`'s matter; what it does to a file is `dicom`'s.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """One hospital's patients, X-ray machine and reading habits.

    Attributes:
        name: short name of the site, also the prefix of its patient numbers.
        institution: invented institution name.
        manufacturer: invented maker of the machine.
        machine: invented model name of the machine.
        modality: ``CR`` (storage phosphor, DICOM PS3.3 A.2) or ``DX`` (flat panel, A.26).
        photometric: how the stored pixels are meant to be shown.
        bits: bits stored, of 16 allocated.
        rows: stored height in pixels.
        columns: stored width in pixels.
        spacing_mm: detector pixel pitch.
        patients: patients in the archive.
        prevalence: share of exams with an opacity.
        follow_up: share of patients with a second exam.
        view: ``PA`` (standing) or ``AP`` (in bed).
        quanta: mean detected quanta per pixel behind no patient; fewer is noisier.
        scatter: scattered over primary radiation at the detector.
        blur_px: standard deviation of the detector's blur in pixels.
        enhancement: strength of the edge enhancement of the vendor's processing.
        latitude: span of log exposure that fills the grey scale; less is more contrast.
        gamma: exponent of the vendor's tone curve.
        gain: shift of the grey scale, as a share of it.
        heel: fall of the beam from top to bottom, as a share.
        collimation: mean width of the collimated border, as a share of the field.
        shutter: the border is shown black (an electronic shutter) and not white (unexposed).
        devices_healthy: share of exams without opacity that show a device.
        devices_ill: share of exams with an opacity that show a device.
        windows: number of display windows named in the file.
        rescale: slope and intercept of the modality LUT; DX fixes them at (1, 0).
        implicit: the files use implicit VR, as older archives do.
    """

    name: str
    institution: str
    manufacturer: str
    machine: str
    modality: Literal["CR", "DX"]
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    bits: Literal[10, 12, 14, 16]
    rows: int
    columns: int
    spacing_mm: float
    patients: int
    prevalence: float
    follow_up: float
    view: Literal["PA", "AP"]
    quanta: float
    scatter: float
    blur_px: float
    enhancement: float
    latitude: float
    gamma: float
    gain: float
    heel: float
    collimation: float
    shutter: bool
    devices_healthy: float
    devices_ill: float
    windows: int = 1
    rescale: tuple[float, float] = (1.0, 0.0)
    implicit: bool = False

    def __post_init__(self) -> None:
        if self.modality == "DX" and self.rescale != (1.0, 0.0):
            raise ValueError("a DX image for presentation has rescale slope 1 and intercept 0 (DICOM PS3.3 C.8.11.3)")


HOSPITALS: tuple[Hospital, ...] = (
    Hospital(
        name="alder",
        institution="Alder University Hospital",
        manufacturer="Nordlicht Imaging",
        machine="Lumen 500",
        modality="DX",
        photometric="MONOCHROME2",
        bits=14,
        rows=176,
        columns=160,
        spacing_mm=2.4,
        patients=320,
        prevalence=0.44,
        follow_up=0.16,
        view="PA",
        quanta=2.4e4,
        scatter=0.35,
        blur_px=0.5,
        enhancement=0.9,
        latitude=3.4,
        gamma=1.0,
        gain=0.0,
        heel=0.08,
        collimation=0.02,
        shutter=False,
        devices_healthy=0.30,
        devices_ill=0.40,
        windows=2,
    ),
    Hospital(
        name="birch",
        institution="Birch District Hospital",
        manufacturer="Fjordray",
        machine="Plate 3",
        modality="CR",
        photometric="MONOCHROME1",
        bits=10,
        rows=144,
        columns=144,
        spacing_mm=2.8,
        patients=280,
        prevalence=0.38,
        follow_up=0.08,
        view="PA",
        quanta=2.5e3,
        scatter=0.7,
        blur_px=0.9,
        enhancement=0.0,
        latitude=3.7,
        gamma=1.1,
        gain=0.02,
        heel=0.22,
        collimation=0.04,
        shutter=False,
        devices_healthy=0.12,
        devices_ill=0.45,
        rescale=(0.25, -32.0),
        implicit=True,
    ),
    Hospital(
        name="cedar",
        institution="Cedar Intensive Care Centre",
        manufacturer="Meridian Bedside",
        machine="Rover M",
        modality="DX",
        photometric="MONOCHROME1",
        bits=12,
        rows=160,
        columns=192,
        spacing_mm=2.2,
        patients=240,
        prevalence=0.52,
        follow_up=0.30,
        view="AP",
        quanta=4e3,
        scatter=1.0,
        blur_px=0.7,
        enhancement=0.5,
        latitude=3.8,
        gamma=0.9,
        gain=-0.01,
        heel=0.16,
        collimation=0.05,
        shutter=True,
        devices_healthy=0.85,
        devices_ill=0.80,
    ),
    Hospital(
        name="dogwood",
        institution="Dogwood Community Clinic",
        manufacturer="Halden Röntgen",
        machine="Compact 2",
        modality="CR",
        photometric="MONOCHROME2",
        bits=16,
        rows=160,
        columns=128,
        spacing_mm=2.6,
        patients=200,
        prevalence=0.35,
        follow_up=0.06,
        view="PA",
        quanta=6e3,
        scatter=0.6,
        blur_px=0.8,
        enhancement=1.3,
        latitude=3.5,
        gamma=1.0,
        gain=0.0,
        heel=0.12,
        collimation=0.03,
        shutter=False,
        devices_healthy=0.10,
        devices_ill=0.08,
        rescale=(0.5, 0.0),
    ),
)
