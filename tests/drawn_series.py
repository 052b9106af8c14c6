"""Synthetic series of slices whose label no slice tells alone.

Each patient has a bright blob in two slices and a faint one in two others: the label is 1 where the bright one lies
nearer to the head. The mean of all slices is the same for both labels.
"""

from pathlib import Path

import numpy as np

SLICES, SIZE_PX = 8, 16


def draw(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, slices, size_px, size_px) uint8 volumes and (count,) labels, both in turn."""
    rng = np.random.default_rng(seed)
    volumes = rng.integers(0, 60, (count, SLICES, SIZE_PX, SIZE_PX), dtype=np.uint8)
    labels = np.arange(count) % 2
    for volume, label in zip(volumes, labels, strict=True):
        low, high = rng.integers(0, 3), rng.integers(5, 7)
        bright, faint = (high, low) if label else (low, high)
        for at, by in ((bright, 190), (faint, 90)):
            top, left = rng.integers(0, SIZE_PX - 6, 2)
            volume[at : at + 2, top : top + 6, left : left + 6] += np.uint8(by)
    return volumes, labels


def write(file: Path, *, seed: int, train: int = 48, others: int = 16) -> Path:
    """An array file in the form of MedMNIST's 3D files, each volume its own patient."""
    arrays = {}
    for number, (split, count) in enumerate({"train": train, "val": others, "test": others}.items()):
        arrays[f"{split}_images"], labels = draw(count, seed=3 * seed + number)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(file, **arrays)
    return file
