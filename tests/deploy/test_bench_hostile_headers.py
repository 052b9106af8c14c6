"""Hostile pictures and volumes: damage that their own checksums do not give away."""

import gzip
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.imaging.pictures import Picture
from client.imaging.reasons import SetAside
from deploy.bench.hostile import missed, run
from deploy.bench.hostile_headers import KINDS

ENDINGS = ("png", "jpg", "tif")


def picture(ending: str, seed: int) -> bytes:
    stream = BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(values).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, "PNG"))
    return stream.getvalue()


def volume() -> bytes:
    """The header of a NIfTI-1 file and some voxels, compressed."""
    return gzip.compress(struct.pack("<i", 348) + bytes(344) + bytes(range(256)) * 8)


def test_a_site_outlives_hostile_pictures(tmp_path: Path) -> None:
    for number in range(24):
        ending = ENDINGS[number % 3]
        (tmp_path / f"{number}.{ending}").write_bytes(picture(ending, number))
    data = run(tmp_path, seconds=600, seed=3, most=1)
    assert list(missed(data | {"over_limit": 0})) == []  # how long a file takes, a busy machine decides
    assert (data["format"], data["rounds"]) == ("pictures", 1)
    assert data["kinds"].keys() & KINDS.keys()
    assert data["used"] and data["set_aside"]["not_an_image"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_any_file(kind: str) -> None:
    files = [*(picture(ending, 1) for ending in ENDINGS), volume()]
    chance = np.random.default_rng(1)
    made = [KINDS[kind](data, files[0], chance) for data in files]
    assert all(one != data for one, data in zip(made, files, strict=True))
    assert all(isinstance(KINDS[kind](bytes([number]), b"x", chance), bytes) for number in range(8))


def test_a_damaged_header_has_the_checksums_of_a_sound_one() -> None:
    chance, of_png, of_gzip = np.random.default_rng(4), 0, 0
    for _ in range(40):
        made = KINDS["number_fields"](picture("png", 2), b"", chance)
        of_png += struct.unpack_from(">I", made, 29)[0] == zlib.crc32(made[12:29])
        of_gzip += len(gzip.decompress(KINDS["number_fields"](volume(), b"", chance))) >= 348 + 2048
    assert of_gzip == 40
    assert of_png > 20  # the rest say another length of their first part


def test_a_picture_with_wrong_numbers_costs_itself() -> None:
    chance, refused = np.random.default_rng(5), 0
    for _ in range(30):
        try:
            Picture().facts(KINDS["number_fields"](picture("png", 3), b"", chance))
        except (SetAside, ValueError, SyntaxError, OSError, struct.error):
            refused += 1
    assert refused
