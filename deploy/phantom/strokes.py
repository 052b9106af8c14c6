"""Decides how thin curves (vessels, tubes, wires) land on the pixel grid.

A stroke is a row of points in body coordinates; each point is spread over its four neighbouring
pixels, so that whole batches are drawn by one weighted count.
"""

import numpy as np
import numpy.typing as npt

from deploy.phantom.bodies import Floats, Grid

Points = npt.NDArray[np.floating]


def splat(grid: Grid, x: Points, y: Points, weight: Points) -> Floats:
    """Sum point weights into pixels by bilinear shares.

    Args:
        grid: the pixel grid of n pictures.
        x: lateral body coordinates, shape (n, points).
        y: vertical body coordinates, shape (n, points).
        weight: what each point adds, broadcastable to (n, points).

    Returns:
        Sums per pixel, float32 of shape (n, rows, columns); points off the picture are dropped.
    """
    n, rows, columns = grid.x.shape
    column, row = grid.locate(x, y)
    left, top = np.floor(column), np.floor(row)
    right_share, low_share = column - left, row - top
    weight = np.broadcast_to(weight, x.shape)
    flat = np.zeros(n * rows * columns)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (right_share if dx else 1 - right_share) * (low_share if dy else 1 - low_share)
        at_row, at_column = (top + dy).astype(np.int64), (left + dx).astype(np.int64)
        seen = (at_row >= 0) & (at_row < rows) & (at_column >= 0) & (at_column < columns)
        place = (np.arange(n)[:, None] * rows + at_row) * columns + at_column
        flat += np.bincount(place[seen], weights=(share * weight)[seen], minlength=flat.size)
    return flat.reshape(n, rows, columns).astype(np.float32)


def curve(grid: Grid, x: Points, y: Points, *, radius: float) -> Floats:
    """A bar of the given half width (body units) along the polyline x, y of shape (n, points).

    Returns:
        Coverage per pixel, about 1 on the curve, float32 of shape (n, rows, columns).
    """
    steps = 160
    at = np.linspace(0, x.shape[1] - 1, steps)
    before = np.minimum(at.astype(np.int64), x.shape[1] - 2)
    share = at - before
    px = x[:, before] * (1 - share) + x[:, before + 1] * share
    py = y[:, before] * (1 - share) + y[:, before + 1] * share
    length = np.hypot(np.diff(px), np.diff(py)).sum(axis=1, keepdims=True)
    pixels_along = length / grid.pixel[:, :, 0] / steps
    normal_x, normal_y = -np.gradient(py, axis=1), np.gradient(px, axis=1)
    size = np.maximum(np.hypot(normal_x, normal_y), 1e-9)
    sides = np.linspace(-radius, radius, 3)
    wide = np.concatenate([px + side * normal_x / size for side in sides], axis=1)
    high = np.concatenate([py + side * normal_y / size for side in sides], axis=1)
    across = np.maximum(2 * radius / grid.pixel[:, :, 0], 0.5)
    return splat(grid, wide, high, pixels_along * across / len(sides))


def vessel_tree(rng: np.random.Generator, grid: Grid) -> Floats:
    """Lung vessels fanning out from both hila: thickness relative to a vessel at its root.

    Returns:
        float32 of shape (n, rows, columns), about 1 on a large vessel, 0 beside.
    """
    n, stems, branches, points = len(grid.x), 22, 3, 20
    side = np.where(np.arange(stems) % 2, 1.0, -1.0)
    fan = np.linspace(-1.25, 1.35, stems // 2).repeat(2)
    angle = fan + rng.normal(0, 0.10, (n, stems))
    reach = rng.uniform(0.35, 0.62, (n, stems))
    turn = rng.normal(0, 0.5, (n, stems, branches)) + np.array([0.0, 0.55, -0.55])
    start = np.array([0.0, 0.3, 0.45])
    along = np.linspace(0, 1, points)
    far = start[:, None] + (1 - start[:, None]) * along  # (branches, points), share of the reach
    heading = angle[:, :, None, None] + turn[..., None] * (far - start[:, None])
    x = 0.17 + reach[:, :, None, None] * far * np.cos(heading)
    y = -0.04 + 1.15 * reach[:, :, None, None] * far * np.sin(heading)
    x = x * side[:, None, None]
    spacing = reach[:, :, None, None] * (1 - start[:, None]) / points / grid.pixel[..., None]
    weight = spacing * np.clip(1.05 - far, 0, 1) * np.array([1.0, 0.7, 0.7])[:, None] * 1.3
    return splat(grid, x.reshape(n, -1), y.reshape(n, -1), np.broadcast_to(weight, x.shape).reshape(n, -1))
