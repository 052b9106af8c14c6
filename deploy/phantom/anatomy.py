"""Decides which tissue lies on the ray of each pixel: centimetres of air, water and bone.

Shapes are soft-edged implicit curves over the body coordinates of `bodies`, evaluated for a whole
batch at once. What the rays lose on their way is `acquisition`'s matter; illness and devices are
`findings`'.
"""

from dataclasses import dataclass

import numpy as np

from deploy.phantom.bodies import Bodies, Floats, Grid, Poses
from deploy.phantom.strokes import vessel_tree

LUNG_DENSITY = 0.26  # g/cm3 of an aerated lung, ICRU report 44
TAU = 2 * np.pi


@dataclass
class Tissue:
    """What each ray crosses, float32 of shape (n, rows, columns), centimetres.

    Attributes:
        lung: air-filled lung.
        soft: water-equivalent soft tissue, lung tissue not counted.
        bone: bone.
        metal: dense material of devices.
    """

    lung: Floats
    soft: Floats
    bone: Floats
    metal: Floats


def edge(distance: Floats, width: float) -> Floats:
    """A smooth step from 0 to 1 over `width` around distance 0."""
    t = np.clip(distance / width + 0.5, 0, 1)
    smooth: Floats = t * t * (3 - 2 * t)
    return smooth


def bulge(x: Floats, y: Floats | float) -> Floats:
    """The chord of a unit sphere seen along its axis: 1 at the centre, 0 outside the unit circle."""
    chord: Floats = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    return chord


def tissue_of(bodies: Bodies, poses: Poses, grid: Grid, rng: np.random.Generator) -> Tissue:
    """The healthy tissue of each body on the rays of `grid`."""
    trunk = _trunk(bodies, grid)
    dome = diaphragm(bodies, poses, grid.x)
    lung = _lungs(bodies, poses, grid, dome)
    heart = _heart(bodies, grid)
    lung = np.maximum(lung - heart, 0.12 * lung) * (trunk > 0)
    vessels = 2.0 * bodies.vessels * vessel_tree(rng, grid) * edge(lung - 2.5, 5.0)
    lung = np.maximum(lung - vessels, 0)
    air = _airways(grid) + _bubble(bodies, grid, dome)
    soft = np.maximum(trunk + _breasts(bodies, grid) - lung - air, 0) * (trunk > 0)
    bone = bodies.bone * (_ribs(bodies, grid) + _clavicles(bodies, grid) + _spine(grid) + _shoulders(grid))
    return Tissue(lung=lung, soft=soft, bone=bone * (trunk > 0), metal=np.zeros_like(lung))


def diaphragm(bodies: Bodies, poses: Poses, x: Floats) -> Floats:
    """The height y of the diaphragm's shadow at the lateral position `x`."""
    arch = 1 - ((np.abs(x) - 0.36) / 0.44) ** 2
    lift = np.where(x < 0, bodies.right_lift, 0)
    return bodies.diaphragm + poses.inspiration + 0.14 - (bodies.dome + lift) * arch - 0.5 * lift


def _trunk(bodies: Bodies, grid: Grid) -> Floats:
    ax, y = np.abs(grid.x), grid.y
    slope = 0.50 * np.exp(-((ax / 0.46) ** 2))
    neck = 1.5 * np.exp(-(((ax / 0.24) ** 2) ** 2))
    shoulder = bodies.apex + 0.10 - slope - neck
    chord = np.sqrt(np.maximum(1 - (ax / (bodies.width * 1.12)) ** 2, 0))
    narrow = 0.45 + 0.55 * np.clip((y - shoulder) / 0.40, 0, 1)
    inside = edge(y - shoulder, 0.04)
    trunk: Floats = bodies.depth_cm * (0.25 + 0.75 * chord) * narrow * inside * (chord > 0)
    return trunk


def _lungs(bodies: Bodies, poses: Poses, grid: Grid, dome: Floats) -> Floats:
    ax, y = np.abs(grid.x), grid.y
    middle, inner = 0.40, 0.13
    lateral = np.maximum(ax - middle, 0) / (bodies.cage + 0.04 * y - middle)
    medial = np.maximum(middle - ax, 0) / (middle - inner)
    top = np.maximum(0.05 - y, 0) / (0.05 - bodies.apex)
    filled = 1 - lateral**2 * (0.6 + 0.4 * lateral**2) - (medial**2) ** 2 - top**2 * (0.45 + 0.55 * top**2)
    behind_dome = 0.8 * edge(dome - y, 0.035) + 0.2 * edge(dome + 0.10 - y, 0.22)
    air: Floats = 0.80 * bodies.depth_cm * np.sqrt(np.maximum(filled, 0)) * behind_dome
    return air


def _heart(bodies: Bodies, grid: Grid) -> Floats:
    size = bodies.heart_size
    dx, dy = grid.x - bodies.heart_x, grid.y - bodies.heart_y
    along, across = 0.87 * dx + 0.50 * dy, 0.87 * dy - 0.50 * dx
    ventricles = 15.0 * bulge(along / (0.37 * size), across / (0.29 * size))
    atrium = 12.0 * bulge((grid.x + 0.06) / (0.21 * size), (grid.y - 0.22) / 0.24)
    knob = 11.0 * bulge((grid.x - 0.12) / (bodies.knob * 1.2), (grid.y + 0.33) / (bodies.knob * 1.3))
    trunk = 8.0 * bulge((grid.x - 0.11) / 0.13, (grid.y + 0.12) / 0.14)
    hila = 3.5 * bulge((np.abs(grid.x) - 0.20) / 0.09, (grid.y + 0.03) / 0.14)
    shadow: Floats = np.maximum(np.maximum(ventricles, atrium), np.maximum(knob, trunk)) + hila
    return shadow


def _airways(grid: Grid) -> Floats:
    ax = np.abs(grid.x)
    trachea = 2.2 * bulge(grid.x / 0.055, 0.0) * edge(-0.22 - grid.y, 0.06)
    bronchi = 1.2 * bulge((grid.y + 0.22 - 0.9 * ax) / 0.04, 0.0) * edge(0.17 - ax, 0.06)
    return np.maximum(trachea, bronchi)


def _bubble(bodies: Bodies, grid: Grid, dome: Floats) -> Floats:
    radius = bodies.bubble + 0.01
    return 5.0 * bulge((grid.x - 0.33) / (1.5 * radius), (grid.y - dome - 0.04 - radius) / radius)


def _breasts(bodies: Bodies, grid: Grid) -> Floats:
    reach: Floats = np.where(grid.y > 0.34, np.float32(0.26), np.float32(0.55))  # they hang
    return bodies.breast_cm * np.sqrt(bulge((np.abs(grid.x) - 0.46) / 0.36, (grid.y - 0.34) / reach))


def _ribs(bodies: Bodies, grid: Grid) -> Floats:
    ax, y = np.abs(grid.x), grid.y
    top = np.maximum(0.05 - y, 0) / (0.10 - bodies.apex)
    outer = bodies.cage + 0.05 + 0.04 * y
    cage = 1 - (ax / outer) ** 2 - (top**2) ** 2
    inside = edge(cage - 0.02, 0.05) * edge(0.86 - y, 0.4)
    tangent = 1 + 0.9 * np.clip(1 - 3.0 * cage, 0, 1)
    pitch = bodies.rib_pitch * (1 + 0.12 * y)
    phase = bodies.rib_phase + np.float32(0.12) * (grid.x > 0)  # left and right are no mirror images
    back = (y - bodies.rib_slope * ax * (2.4 * ax - 0.9)) / pitch + phase
    front = (y + 0.55 * ax + 0.45 * ax * ax) / (1.12 * pitch) + 2.3 * phase
    posterior = 0.80 * _slats(back, 0.25) * edge(ax - 0.06, 0.05)
    anterior = 0.30 * _slats(front, 0.22) * edge(ax - 0.34, 0.16) * edge(0.42 - y, 0.4)
    ribs: Floats = inside * (tangent * posterior + anterior)
    return ribs


def _slats(phase: Floats, half_width: float) -> Floats:
    """Bars with a bright rim, one per unit of `phase`: the projection of a bone with a dense cortex."""
    offset = (phase - np.round(phase)) / half_width
    outer = np.maximum(1 - offset * offset, 0)
    marrow = np.maximum(1 - (offset / 0.72) ** 2, 0)
    bars: Floats = 1.5 * np.sqrt(outer) - 0.75 * np.sqrt(marrow)
    return bars


def _clavicles(bodies: Bodies, grid: Grid) -> Floats:
    ax = np.abs(grid.x)
    middle = bodies.clavicle - 0.17 * ax - 0.035 * np.sin(TAU * (ax - 0.08) / 0.95)
    half = 0.034 + 0.016 * np.clip(1 - 4 * np.abs(ax - 0.10), 0, 1)
    offset = np.clip((grid.y - middle) / half, -0.5, 0.5)
    return 1.7 * _slats(offset, 0.499) * edge(ax - 0.07, 0.03) * edge(0.86 - ax, 0.05)


def _spine(grid: Grid) -> Floats:
    ax = np.abs(grid.x)
    level = np.cos(TAU * grid.y / 0.135)  # 1 in the middle of a vertebra, -1 in a disc
    column = 1.5 * np.sqrt(np.maximum(1 - ((ax / 0.105) ** 2) ** 2, 0)) * (0.80 + 0.20 * np.tanh(3 * level))
    process = 0.5 * edge(0.014 - ax, 0.012) * edge(level - 0.2, 0.8)
    spine: Floats = column + process
    return spine


def _shoulders(grid: Grid) -> Floats:
    ax, y = np.abs(grid.x), grid.y
    blade = 0.55 * edge(ax - 0.74 + 0.12 * (y + 0.3), 0.02) * edge(0.02 - y - 0.9 * (ax - 0.74), 0.05)
    head = 2.4 * bulge((ax - 1.07) / 0.15, (y + 0.60) / 0.15)
    return blade * edge(y + 0.66, 0.05) * edge(1.02 - ax, 0.06) + head
