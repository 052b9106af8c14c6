"""From an image of any size to the tensor shape that the study asks for.

Decides how an image, and its mask, is resized, padded, given channels and brought onto the study's scale, and the way
back for what a network says of each place. Pure and deterministic: float32 Lanczos, the aspect ratio kept, black
borders to make it square.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.imaging.form import Pixels
from client.imaging.landmarks import onto
from client.imaging.window import FULL
from shared.images import ImageSpec

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def fit(pixels: Pixels, spec: ImageSpec) -> NDArray[np.uint16]:
    """Resize, pad and convert one image, and map it to the landmarks, if there are any.

    Args:
        pixels: (h, w) or (h, w, 3) uint16; a volume is on the study's grid already (`grid`).
        spec: the study's images.

    Returns:
        (channels, size_px, size_px) uint16, or (1, slices, size_px, size_px).
    """
    image = pixels[None] if spec.slices is not None else _picture(pixels, spec)
    return image if spec.landmarks is None else onto(image, spec.landmarks)


def _picture(pixels: Pixels, spec: ImageSpec) -> NDArray[np.uint16]:
    planes = [_square(plane, spec.size_px) for plane in _channels(pixels, spec.channels)]
    stack = np.stack(planes if len(planes) == spec.channels else planes * spec.channels)
    return np.rint(np.clip(stack, 0, FULL)).astype(np.uint16)


def fit_mask(mask: NDArray[np.uint16], spec: ImageSpec) -> NDArray[np.uint16]:
    """Bring a mask to where `fit` brings its image; each place has the value of the nearest one, borders 0.

    Args:
        mask: (h, w) uint16, as large as the image; that of a volume is on the study's grid already.
        spec: the study's images.

    Returns:
        (size_px, size_px) uint16, or (slices, size_px, size_px).
    """
    if spec.slices is not None:
        return mask
    return _square(mask.astype(np.float32), spec.size_px, Image.Resampling.NEAREST).astype(np.uint16)


def unfit(plane: NDArray[np.float32], shape: tuple[int, int], *, to: tuple[int, int]) -> NDArray[np.float32]:
    """Bring what was said of each place of a fitted image back to the image: borders cut off, then resized (bilinear).

    Args:
        plane: (size_px, size_px).
        shape: (height, width) of the image before `fit`.
        to: (height, width) that is wanted; the image's own if its pixels were made square before.

    Returns:
        `to`, float32.
    """
    (height, width), (top, left) = _inner(shape, len(plane))
    inner = np.ascontiguousarray(plane[top : top + height, left : left + width], dtype=np.float32)
    picture = Image.fromarray(inner).resize((to[1], to[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float32)


def _inner(shape: tuple[int, ...], size_px: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of an image within its square, and how far from the top and the left it lies."""
    height, width = (max(1, round(edge * size_px / max(shape))) for edge in shape)
    return (height, width), ((size_px - height) // 2, (size_px - width) // 2)


def _channels(pixels: Pixels, channels: int) -> list[NDArray[np.float32]]:
    if pixels.ndim == 2:
        return [pixels.astype(np.float32)]  # repeated after resizing
    if channels == 1:
        return [(pixels.astype(np.float32) @ _LUMA).astype(np.float32)]
    return [pixels[..., channel].astype(np.float32) for channel in range(3)]


def _square(
    plane: NDArray[np.float32], size_px: int, resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> NDArray[np.float32]:
    (height, width), (top, left) = _inner(plane.shape, size_px)
    if (height, width) != plane.shape:
        picture = Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), resampling)
        plane = np.asarray(picture, dtype=np.float32)
    square = np.zeros((size_px, size_px), dtype=np.float32)
    square[top : top + height, left : left + width] = plane
    return square
