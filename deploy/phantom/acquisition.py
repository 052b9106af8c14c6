"""Decides what a hospital's machine makes of tissue: from centimetres to stored pixel values.

The chain is that of a radiograph: heel of the anode, exponential attenuation, scatter, quantum noise,
blur of the detector, logarithm, the vendor's processing, bits. Numbers are for one effective energy
of about 70 keV.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.phantom.anatomy import LUNG_DENSITY, Tissue, edge
from deploy.phantom.bodies import Floats
from deploy.phantom.hospitals import Hospital

# Linear attenuation at 70 keV in 1/cm, NIST XCOM: water, cortical bone beyond it, device metal.
WATER, BONE, METAL = 0.193, 0.30, 8.0
BODY_EXIT = 0.12  # brightest beam behind a chest; where the beam misses the body nothing scatters
SCATTER_SPREAD = 0.06  # standard deviation of the scattered beam, as a share of the picture's width


@dataclass(frozen=True)
class Exposure:
    """Pictures as a machine stores them.

    Attributes:
        stored: uint16 of shape (n, rows, columns), in MONOCHROME2 order (dense tissue bright).
        field: collimated field of each picture as (top, bottom, left, right) in pixels, shape (n, 4).
        window: (low, high) stored values that a reader should spread over the grey scale, shape (n, 2).
    """

    stored: npt.NDArray[np.uint16]
    field: npt.NDArray[np.int64]
    window: npt.NDArray[np.float64]


def expose(tissue: Tissue, hospital: Hospital, rng: np.random.Generator) -> Exposure:
    """Take the pictures of a batch of bodies with one hospital's machine."""
    n, rows, _ = tissue.lung.shape
    path = WATER * (tissue.soft + LUNG_DENSITY * tissue.lung) + BONE * tissue.bone + METAL * tissue.metal
    field, open_beam = _collimator(hospital, rng, n)
    tube = np.exp(rng.normal(0, 0.12, (n, 1, 1))).astype(np.float32)
    primary = np.exp(-path) * _heel(hospital, rows) * open_beam * tube
    signal = _detect(primary, hospital, rng)
    grey = _process(signal, tube, hospital, rng)
    if hospital.shutter:
        grey *= open_beam
    top = 2**hospital.bits - 1
    stored = np.clip(np.rint(grey * top), 0, top).astype(np.uint16)
    return Exposure(stored=stored, field=field, window=_window(grey, open_beam) * top)


def _collimator(hospital: Hospital, rng: np.random.Generator, n: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The field's edges and a soft mask of it, shape (n, rows, columns)."""
    margin = np.minimum(rng.gamma(2.0, hospital.collimation / 2, (n, 4)), 0.2)
    size = np.array([hospital.rows, hospital.rows, hospital.columns, hospital.columns])
    inset = margin * size
    row = np.arange(hospital.rows, dtype=np.float32)[None, :]
    column = np.arange(hospital.columns, dtype=np.float32)[None, :]
    down = np.minimum(row - inset[:, 0:1], hospital.rows - 1 - row - inset[:, 1:2]) + 0.5
    across = np.minimum(column - inset[:, 2:3], hospital.columns - 1 - column - inset[:, 3:4]) + 0.5
    mask = edge(down.astype(np.float32), 1.0)[:, :, None] * edge(across.astype(np.float32), 1.0)[:, None, :]
    field = np.rint(np.where([True, False, True, False], inset, size - inset)).astype(np.int64)
    return field, mask


def _heel(hospital: Hospital, rows: int) -> Floats:
    return (1 - hospital.heel * np.linspace(0, 1, rows, dtype=np.float32))[:, None]


def _detect(primary: Floats, hospital: Hospital, rng: np.random.Generator) -> Floats:
    """Scatter, quantum noise (Poisson, by its normal limit) and blur; in units of the open beam."""
    source = hospital.scatter * np.minimum(primary, BODY_EXIT)
    beam = np.maximum(primary + _blurred(source, SCATTER_SPREAD * primary.shape[2]), 1e-5)
    noisy = beam + np.sqrt(beam / hospital.quanta) * rng.standard_normal(beam.shape, dtype=np.float32)
    blurred = _blurred(noisy, hospital.blur_px)
    electronic = np.float32(0.03 / np.sqrt(hospital.quanta)) * rng.standard_normal(beam.shape, dtype=np.float32)
    return np.maximum(blurred + electronic, 2e-4).astype(np.float32)


def _blurred(picture: Floats, sigma_px: float) -> Floats:
    """`picture` spread by a Gaussian of standard deviation `sigma_px`."""
    rows, columns = picture.shape[1:]
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    transfer = np.exp(-2 * (np.pi * sigma_px) ** 2 * (fx * fx + fy * fy))
    spectrum = np.fft.rfft2(picture) * transfer.astype(np.float32)
    return np.fft.irfft2(spectrum, s=(rows, columns)).astype(np.float32)


def _process(signal: Floats, tube: Floats, hospital: Hospital, rng: np.random.Generator) -> Floats:
    """The vendor's picture, 0..1: exposure recognised, logarithm, edges enhanced, tone curve."""
    recognised = np.exp(rng.normal(0, 0.08, tube.shape)).astype(np.float32) * tube
    dense = -np.log(signal / recognised)
    if hospital.enhancement:
        sharp = dense - _blurred(dense, 0.03 * dense.shape[2])
        dense = dense + hospital.enhancement * np.clip(sharp, -0.5, 0.5)
    grey = (dense - 0.75) / hospital.latitude + hospital.gain
    toned: Floats = np.clip(grey, 0, 1) ** np.float32(hospital.gamma)
    return toned


def _window(grey: Floats, open_beam: Floats) -> npt.NDArray[np.float64]:
    """The 1st and 99th percentile of the grey values inside the field, shape (n, 2), 0..1."""
    thin = np.where(open_beam > 0.99, grey, np.nan)[:, ::3, ::3].reshape(len(grey), -1)
    return np.nanpercentile(thin, [1, 99], axis=1).T
