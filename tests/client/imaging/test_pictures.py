"""PNG, JPEG and TIFF pictures."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client.imaging.about import About
from client.imaging.extent import Extent
from client.imaging.form import Facts
from client.imaging.pictures import Picture
from client.imaging.reasons import Reason, SetAside

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLOUR = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


def _bytes(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    (pixels,) = Picture().pixels(data, [0])
    return pixels


def _reason(data: bytes) -> Reason:
    with pytest.raises(SetAside) as caught:
        Picture().facts(data)
    return caught.value.reason


def test_grey() -> None:
    data = _bytes(Image.fromarray(GREY))
    assert Picture().facts(data) == Facts(about=About(syntax="png"), extent=Extent((1, *GREY.shape)))
    found = _pixels(data)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, GREY.astype(np.uint16) * 257)


def test_sixteen_bits() -> None:
    deep = GREY.astype(np.uint16) * 1000
    np.testing.assert_array_equal(_pixels(_bytes(Image.fromarray(deep))), deep)


def test_colour() -> None:
    np.testing.assert_array_equal(_pixels(_bytes(Image.fromarray(COLOUR))), COLOUR.astype(np.uint16) * 257)


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA"])
def test_other_modes(mode: str) -> None:
    found = _pixels(_bytes(Image.fromarray(COLOUR).convert(mode)))
    assert found.shape == ((8, 8) if mode in ("1", "LA") else (8, 8, 3))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(mode: str) -> None:
    flat = Image.new("RGB", (16, 8), (120, 120, 120)).convert(mode)
    found = _pixels(_bytes(flat, "JPEG", quality=95))
    assert found.shape[:2] == (8, 16)
    assert abs(found.astype(int) - 120 * 257).max() <= 3 * 257


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("stored", [GREY, COLOUR, GREY.astype(np.uint16) * 1000], ids=["grey", "colour", "deep"])
def test_tiff(stored: np.ndarray, compression: str | None) -> None:
    data = _bytes(Image.fromarray(stored), "TIFF", compression=compression)
    assert Picture().facts(data).about.syntax == "tiff"
    full = stored if stored.dtype == np.uint16 else stored.astype(np.uint16) * 257
    np.testing.assert_array_equal(_pixels(data), full)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_tiff_without_a_white_is_set_aside(dtype: type) -> None:
    assert _reason(_bytes(Image.fromarray(GREY.astype(dtype)), "TIFF")) is Reason.COLOUR_UNKNOWN


def test_a_tiff_of_several_pages_is_set_aside() -> None:
    page = Image.fromarray(GREY)
    assert _reason(_bytes(page, "TIFF", save_all=True, append_images=[page])) is Reason.MULTI_FRAME


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    found = _pixels(_bytes(Image.new("L", (16, 8), 200), "JPEG", exif=exif))
    assert found.shape == (16, 8)


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(50), bytes(500)])
def test_other_files_are_not_images(data: bytes) -> None:
    assert _reason(data) is Reason.NOT_AN_IMAGE


def test_a_gif_is_not_read() -> None:
    assert _reason(_bytes(Image.fromarray(GREY), "GIF")) is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("edge", [6000, 10_000, 20_000])
def test_a_decompression_bomb_is_set_aside_by_its_header(edge: int) -> None:
    data = bytearray(_bytes(Image.fromarray(GREY)))
    data[16:24] = struct.pack(">II", edge, edge)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert _reason(bytes(data)) is Reason.TOO_LARGE


def test_an_animation_is_set_aside() -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    assert _reason(_bytes(frames[0], "PNG", save_all=True, append_images=frames[1:])) is Reason.MULTI_FRAME


def test_a_truncated_picture_raises() -> None:
    rng = np.random.default_rng(0)
    data = _bytes(Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)))
    with pytest.raises((OSError, SyntaxError)):
        _pixels(data[: len(data) // 2])
