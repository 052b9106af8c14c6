"""Nuclei to count: one public field of microscopy, cut into tiles, as an array file for `wardround demo --npz`.

    pip download stardist==0.9.1 --no-deps --only-binary :all: --python-version 3.11
    python docs/methods/nuclei.py stardist-0.9.1-*.whl nuclei.npz

The field lies in that wheel: `img2d.tif`, 512 x 512 pixels of stained nuclei under a fluorescence microscope, and
`mask2d.tif`, which numbers them, of the 2018 Data Science Bowl (BBBC038, CC0; Caicedo et al. 2019). How it is cut:

1. Tiles are of 64 x 64 pixels, side by side, and each is a patient.
2. The upper half of the field is one site, the lower half another.
3. In both the first five columns of tiles are to train on, the sixth is to validate and the last two are to test: no
   tile to test on touches one to train on, of whichever site.
4. Nuclei that touch are one piece of a mask, so a pixel beside another nucleus is taken out of it. What the edge of a
   tile cuts off is a piece of each.
"""

import io
import sys
import zipfile

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

TILE = 64
SPLITS = np.array(["train"] * 5 + ["validation"] + ["test"] * 2)  # of the columns of tiles, from the left


def main(wheel: str, out: str) -> None:
    """Read both pictures out of the wheel and write `images`, `masks`, `labels`, `patient`, `split` and `site`."""
    with zipfile.ZipFile(wheel) as archive:
        field, numbered = (
            np.asarray(Image.open(io.BytesIO(archive.read(f"stardist/data/images/{name}2d.tif"))))
            for name in ("img", "mask")
        )
    images = tiles(field.astype(np.uint8))  # 8 bits that are stored as 16
    count = len(images)
    row, column = np.divmod(np.arange(count), len(SPLITS))
    np.savez(
        out,
        images=images,
        masks=tiles(apart(numbered)),
        labels=np.zeros(count, np.uint8),
        patient=np.array([f"tile-{number}" for number in range(count)]),
        split=SPLITS[column],
        site=np.where(row < len(SPLITS) // 2, "upper", "lower"),
    )


def apart(numbered: np.ndarray) -> np.ndarray:
    """The (h, w) uint8 mask of what is nucleus and has no pixel of another one beside it."""
    highest = maximum_filter(numbered, 3)
    lowest = minimum_filter(np.where(numbered > 0, numbered, numbered.max()), 3)
    return ((numbered > 0) & (numbered == highest) & (numbered == lowest)).astype(np.uint8)


def tiles(field: np.ndarray) -> np.ndarray:
    """(h, w) to (n, 64, 64), row by row."""
    rows, columns = (side // TILE for side in field.shape)
    return field.reshape(rows, TILE, columns, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)


if __name__ == "__main__":
    main(*sys.argv[1:])
