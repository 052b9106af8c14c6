"""Small invented sites for benchmarks: a bright spot or none, on noise; the same seed draws the same bytes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.imaging.settings import DataSettings
from shared.canonical import canonical, digest
from shared.metrics import Integers

SIDE_PX = 28
_SPOT_PX = 7
_HELD_OUT = {"validation": 16, "test": 16}


def draw_sites(folder: Path, train: Mapping[str, int], *, seed: int) -> dict[str, DataSettings]:
    """Write one .npz per site.

    Args:
        folder: made if missing; gets `SITE.npz`.
        train: by site, how many images to train on; 16 to validate and 16 to test come on top.
        seed: what the pictures depend on, beside the site's name.

    Returns:
        By site, the `[data]` table that reads them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {site: _draw(folder / f"{site}.npz", site, count, seed) for site, count in train.items()}


def draw_file(file: Path, count: int, *, seed: int) -> Path:
    """Write one .npz of so many pictures, whose splits are for whoever divides it."""
    labels = np.arange(count) % 2
    np.savez(file, images=_pictures(labels, np.random.default_rng(seed)), labels=labels, allow_pickle=False)
    return file


def _draw(file: Path, site: str, count: int, seed: int) -> DataSettings:
    rng = np.random.default_rng(int(digest(canonical([seed, site]))[:16], 16))
    counts = {"train": count} | _HELD_OUT
    split = np.array([word for word, number in counts.items() for _ in range(number)])
    labels = np.arange(split.size) % 2
    np.savez(file, images=_pictures(labels, rng), labels=labels, split=split, allow_pickle=False)
    return DataSettings(kind="npz", file=file)


def _pictures(labels: Integers, rng: np.random.Generator) -> NDArray[np.uint8]:
    images = rng.integers(0, 128, (len(labels), SIDE_PX, SIDE_PX), dtype=np.uint8)
    for index in np.flatnonzero(labels):
        top, left = rng.integers(0, SIDE_PX - _SPOT_PX, 2)
        images[index, top : top + _SPOT_PX, left : left + _SPOT_PX] += 100
    return images
