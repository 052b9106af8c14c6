"""PNG, JPEG and TIFF pictures, read with Pillow.

Decides which pictures are read (one frame, bounded in size) and how their modes become grey or RGB
uint16. A TIFF of fractions or of 32 bits has no white that a reader could know, and is set aside. A picture
says nothing about its patient; the label table does.
"""

import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from client.imaging.about import About
from client.imaging.extent import Extent
from client.imaging.form import MAX_PIXELS, Facts, Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.window import FULL

_FORMATS = ("PNG", "JPEG", "TIFF")
_DEEP = ("I;16", "I;16B", "I;16L", "I")  # 16-bit grey PNG and TIFF, by version of Pillow


class Picture:
    """PNG, JPEG and TIFF files."""

    def facts(self, data: bytes) -> Facts:
        """Read the header.

        Raises:
            SetAside: not a single picture within the limits.
        """
        picture = _open(data)
        if picture.mode == "F" or (picture.format == "TIFF" and picture.mode == "I"):
            raise SetAside(Reason.COLOUR_UNKNOWN)
        # As it is stored; how it is turned upright, `pixels` finds out.
        extent = Extent((1, picture.height, picture.width))
        return Facts(about=About(syntax=str(picture.format).lower()), extent=extent)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        """Decode, turned upright as its EXIF orientation says; transparency is dropped."""
        yield from (self._pixels(data) for _ in frames)

    def _pixels(self, data: bytes) -> Pixels:
        picture = ImageOps.exif_transpose(_open(data))
        if picture.mode in _DEEP:
            return np.asarray(picture).clip(0, FULL).astype(np.uint16)
        grey = picture.mode in ("1", "L", "LA", "La")
        values: Pixels = np.asarray(picture.convert("L" if grey else "RGB")).astype(np.uint16)
        return values * np.uint16(257)


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise SetAside(Reason.NOT_AN_IMAGE) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise SetAside(Reason.TOO_LARGE) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise SetAside(Reason.TOO_LARGE)
    if getattr(picture, "n_frames", 1) != 1:
        raise SetAside(Reason.MULTI_FRAME)
    return picture
