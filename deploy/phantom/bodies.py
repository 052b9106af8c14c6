"""Decides how people differ: sizes, shapes and postures, each an array over the exams of a batch.

How a body casts its shadow is `anatomy`'s matter. Coordinates are the body's own: x runs from the
patient's right (-1, the left of the picture) to the left (+1), y from the neck (-1) to the upper
abdomen (+1); 1 unit is about 17 cm.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]  # float32 in all pictures


@dataclass(frozen=True)
class Bodies:
    """Traits of n bodies; every field is float32 of shape (n, 1, 1), lengths in body units unless named."""

    female: Floats
    depth_cm: Floats
    width: Floats
    cage: Floats
    apex: Floats
    diaphragm: Floats
    dome: Floats
    right_lift: Floats
    heart_x: Floats
    heart_y: Floats
    heart_size: Floats
    knob: Floats
    rib_pitch: Floats
    rib_phase: Floats
    rib_slope: Floats
    bone: Floats
    clavicle: Floats
    breast_cm: Floats
    bubble: Floats
    vessels: Floats

    def __len__(self) -> int:
        return len(self.female)

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The bodies at `rows`, shape (m,), in that order; a row may repeat."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Poses:
    """How n bodies stand before the detector; float32 of shape (n, 1, 1)."""

    tilt: Floats
    zoom: Floats
    shift_x: Floats
    shift_y: Floats
    inspiration: Floats


@dataclass(frozen=True)
class Grid:
    """Body coordinates of every pixel of n pictures, float32 of shape (n, rows, columns).

    Attributes:
        x: lateral position, negative on the patient's right.
        y: position from the neck downwards.
        pixel: size of one pixel in body units, shape (n, 1, 1).
    """

    x: Floats
    y: Floats
    pixel: Floats

    def locate(
        self, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """Fractional (column, row) of body points, each of shape (n, points)."""
        square = self.pixel[:, :, 0] ** 2
        cos = self.x[:, 0, 1:2] - self.x[:, 0, 0:1]
        sin = self.y[:, 0, 1:2] - self.y[:, 0, 0:1]
        dx, dy = x - self.x[:, 0, 0:1], y - self.y[:, 0, 0:1]
        return (dx * cos + dy * sin) / square, (dy * cos - dx * sin) / square


def draw_bodies(rng: np.random.Generator, *, female: npt.NDArray[np.bool_]) -> Bodies:
    """Bodies of people with the given sexes, shape (n,)."""
    sex = female.astype(np.float32)[:, None, None]

    def normal(mean: float, spread: float) -> Floats:
        drawn = np.clip(rng.standard_normal(sex.shape), -2.2, 2.2)
        return (mean + spread * drawn).astype(np.float32)

    return Bodies(
        female=sex,
        depth_cm=normal(20.0, 1.8) - 1.5 * sex,
        width=normal(1.08, 0.05),
        cage=normal(0.80, 0.03) - 0.02 * sex,
        apex=normal(-0.80, 0.035),
        diaphragm=normal(0.50, 0.05),
        dome=normal(0.17, 0.03),
        right_lift=normal(0.05, 0.02),
        heart_x=normal(0.13, 0.025),
        heart_y=normal(0.24, 0.03),
        heart_size=normal(1.0, 0.09),
        knob=normal(0.085, 0.015),
        rib_pitch=normal(0.158, 0.008),
        rib_phase=normal(0.0, 0.4),
        rib_slope=normal(0.30, 0.05),
        bone=normal(1.0, 0.13) - 0.08 * sex,
        clavicle=normal(-0.60, 0.03),
        breast_cm=np.maximum(normal(2.2, 0.8), 0.3) * sex,
        bubble=np.maximum(normal(0.07, 0.05), 0.0),
        vessels=normal(1.0, 0.2),
    )


def draw_poses(rng: np.random.Generator, n: int, *, view: Literal["PA", "AP"]) -> Poses:
    """Postures of `n` exams; in bed (``AP``) people lie less straight and breathe in less."""
    loose = 1.0 if view == "PA" else 1.8

    def normal(mean: float, spread: float) -> Floats:
        drawn = np.clip(rng.standard_normal((n, 1, 1)), -2.2, 2.2)
        return (mean + spread * drawn).astype(np.float32)

    return Poses(
        tilt=normal(0.0, 0.03 * loose),
        zoom=normal(1.0, 0.03 * loose),
        shift_x=normal(0.0, 0.03 * loose),
        shift_y=normal(0.0, 0.03 * loose),
        inspiration=normal(0.0 if view == "PA" else -0.08, 0.03 * loose),
    )


def grid_of(poses: Poses, *, rows: int, columns: int) -> Grid:
    """The body coordinates that each pixel sees; the shorter side spans two body units before the zoom."""
    pixel = 2.06 / min(rows, columns) / poses.zoom
    across = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2)[None, None, :] * pixel
    down = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2)[None, :, None] * pixel
    cos, sin = np.cos(poses.tilt), np.sin(poses.tilt)
    x = across * cos - down * sin + poses.shift_x
    y = across * sin + down * cos + poses.shift_y
    return Grid(x=x.astype(np.float32), y=y.astype(np.float32), pixel=pixel.astype(np.float32))
