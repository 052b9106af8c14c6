"""Decides what is added to a healthy chest: opacities (the positive class) and devices (no class).

Opacities replace air by water inside the lung only; some are large and dense, some barely exceed
the noise. Devices, nipples and healed nodules exist at every label, so that brightness alone
does not give the answer away.
"""

import numpy as np
import numpy.typing as npt

from deploy.phantom.anatomy import LUNG_DENSITY, Tissue, bulge, edge
from deploy.phantom.bodies import Floats, Grid
from deploy.phantom.strokes import Points, curve

Rows = npt.NDArray[np.bool_]


def add_opacities(tissue: Tissue, grid: Grid, rng: np.random.Generator, ill: Rows) -> None:
    """Fill part of the lung with fluid in the pictures where `ill`, shape (n,), is true."""
    n = len(ill)
    spots = np.where(ill, rng.choice([1, 2, 3], n, p=[0.4, 0.4, 0.2]), 0)
    side = np.where(rng.random(n) < 0.55, -1.0, 1.0)
    for spot in range(3):
        side = np.where(rng.random(n) < 0.3, -side, side)
        shape = _spot(grid, rng, side)
        air = np.where((spots > spot)[:, None, None], np.minimum(shape, 0.85 * tissue.lung), 0).astype(np.float32)
        tissue.lung -= air
        tissue.soft += air * (1 - LUNG_DENSITY)


def _spot(grid: Grid, rng: np.random.Generator, side: npt.NDArray[np.floating]) -> Floats:
    """One opacity per picture: centimetres of lung that it fills, thicker in larger ones."""
    n = len(side)

    def uniform(low: float, high: float) -> Floats:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    radius = np.exp(uniform(np.log(0.15), np.log(0.32)))
    x = side[:, None, None].astype(np.float32) * uniform(0.30, 0.62)
    y = uniform(-0.48, 0.22)
    angle, stretch = uniform(0, np.pi), uniform(0.7, 1.4)
    dx, dy = (grid.x - x) / radius, (grid.y - y) / radius
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    ragged = _ripple(dx, dy, uniform(0, 6.3), uniform(0, 6.3))
    body = 1 - (along / stretch) ** 2 - (across * stretch) ** 2 + 0.55 * ragged
    thickness = uniform(5.0, 13.0)
    return thickness * edge(body - 0.2, 1.0) * (1 + 0.25 * ragged)


def _ripple(x: Floats, y: Floats, a: Floats, b: Floats) -> Floats:
    return (np.sin(2.9 * x + a + 1.3 * np.sin(2.1 * y + b)) * np.sin(3.3 * y + b + 1.1 * np.sin(1.7 * x + a))).astype(
        np.float32
    )


def add_distractors(tissue: Tissue, grid: Grid, rng: np.random.Generator) -> None:
    """Nipple shadows and healed, calcified nodules, drawn without regard to the label."""
    n = len(grid.x)
    ax = np.abs(grid.x)
    nipple = (rng.random((n, 1, 1)) < 0.25) * bulge((ax - 0.48) / 0.035, (grid.y - 0.40) / 0.035)
    tissue.soft += (0.9 * nipple).astype(np.float32)
    x = rng.uniform(-0.6, 0.6, (n, 1, 1)).astype(np.float32)
    y = rng.uniform(-0.5, 0.3, (n, 1, 1)).astype(np.float32)
    healed = (rng.random((n, 1, 1)) < 0.15) * bulge((grid.x - x) / 0.025, (grid.y - y) / 0.025)
    tissue.bone += (0.8 * healed * (tissue.lung > 2)).astype(np.float32)


def add_devices(tissue: Tissue, grid: Grid, rng: np.random.Generator, worn: Rows) -> None:
    """Monitor leads, tubes, lines, pacemakers and sternal wires in the pictures where `worn` is true."""
    rows = np.flatnonzero(worn)
    if not len(rows):
        return
    part = Grid(grid.x[rows], grid.y[rows], grid.pixel[rows])
    kinds = rng.random((len(rows), 5)) < np.array([0.65, 0.40, 0.45, 0.22, 0.15])
    kinds[~kinds.any(axis=1), 0] = True
    drawn = (_leads, _airway_tube, _central_line, _pacemaker, _sternal_wires)
    for column, draw in enumerate(drawn):
        chosen = np.flatnonzero(kinds[:, column])
        if len(chosen):
            picked = Grid(part.x[chosen], part.y[chosen], part.pixel[chosen])
            tissue.metal[rows[chosen]] += draw(picked, rng)


def _waves(rng: np.random.Generator, xs: list[float], ys: list[float], n: int, spread: float) -> tuple[Points, Points]:
    """The polyline (xs, ys) with each point moved at random, smoothed; shapes (n, 40)."""
    knots, fine = np.linspace(0, 1, len(xs)), np.linspace(0, 1, 40)
    moved = np.stack([xs, ys])[:, None, :] + rng.normal(0, spread, (2, n, len(xs)))
    smooth = np.stack([[_catmull(line, knots, fine) for line in axis] for axis in moved])
    return smooth[0], smooth[1]


def _catmull(values: Points, knots: Points, fine: Points) -> Points:
    """A smooth curve through `values`: cubic Hermite with central slopes."""
    slope = np.gradient(values, knots)
    at = np.clip(np.searchsorted(knots, fine, side="right") - 1, 0, len(knots) - 2)
    step = knots[at + 1] - knots[at]
    t = (fine - knots[at]) / step
    start = (1 + 2 * t) * (1 - t) ** 2 * values[at] + t * (1 - t) ** 2 * step * slope[at]
    return start + t * t * (3 - 2 * t) * values[at + 1] + t * t * (t - 1) * step * slope[at + 1]


def _leads(grid: Grid, rng: np.random.Generator) -> Floats:
    n = len(grid.x)
    total = np.zeros_like(grid.x)
    ends = ((-0.62, -0.48), (0.60, -0.50), (0.52, 0.42))
    for x, y in ends:
        px, py = _waves(rng, [x, 0.6 * x, 0.35 * x, 0.1], [y, y + 0.16, 0.25, 1.05], n, 0.07)
        patch = bulge((grid.x - px[:, 0, None, None]) / 0.05, (grid.y - py[:, 0, None, None]) / 0.05)
        total += 0.10 * curve(grid, px, py, radius=0.006) + 0.035 * patch.astype(np.float32)
    return total


def _airway_tube(grid: Grid, rng: np.random.Generator) -> Floats:
    px, py = _waves(rng, [0.0, 0.0, 0.0], [-1.1, -0.75, -0.36], len(grid.x), 0.015)
    wall = curve(grid, px - 0.022, py, radius=0.005) + curve(grid, px + 0.022, py, radius=0.005)
    return 0.06 * wall + 0.03 * curve(grid, px, py, radius=0.02)


def _central_line(grid: Grid, rng: np.random.Generator) -> Floats:
    px, py = _waves(rng, [-0.30, -0.22, -0.13, -0.11, -0.12], [-1.0, -0.72, -0.5, -0.25, 0.05], len(grid.x), 0.02)
    return 0.09 * curve(grid, px, py, radius=0.009)


def _pacemaker(grid: Grid, rng: np.random.Generator) -> Floats:
    px, py = _waves(
        rng, [0.52, 0.32, 0.05, -0.10, -0.02, 0.20], [-0.42, -0.55, -0.4, 0.0, 0.32, 0.40], len(grid.x), 0.02
    )
    dx, dy = (grid.x - px[:, 0, None, None]) / 0.125, (grid.y - py[:, 0, None, None]) / 0.105
    case = edge((1 - dx**4 - dy**4).astype(np.float32), 0.3)
    return 0.55 * case + 0.16 * curve(grid, px, py, radius=0.009)


def _sternal_wires(grid: Grid, rng: np.random.Generator) -> Floats:
    turns = np.linspace(0, 2 * np.pi, 14)
    total = np.zeros_like(grid.x)
    for y in np.linspace(-0.35, 0.35, 5):
        jitter = rng.normal(0, 0.01, (len(grid.x), 1))
        total += curve(grid, 0.045 * np.cos(turns) + jitter, y + 0.02 * np.sin(turns) + jitter, radius=0.006)
    return 0.14 * total
