"""Hostile image files, before the code that a site reads images with."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from live_federation import wardround

from client.imaging.catalogue import Row
from client.imaging.reasons import Reason
from client.imaging.unmapped import Unmapped
from deploy.bench.hostile import Found, judge, missed, run, show
from deploy.bench.hostile_bytes import KINDS, damaged
from deploy.bench.hostile_folder import Laid
from deploy.bench.hostile_site import Timed
from shared.console import Answer, envelope
from shared.errors import ConfigError


@pytest.fixture
def sound(shared_data: Path) -> list[bytes]:
    folder = shared_data / "dicom" / "pydicom_test_files"
    names = ("MR_small", "CT_small", "JPEG2000", "SC_rgb_jpeg_dcmtk", "MR_small_RLE", "image_dfl", "MR_small_bigendian")
    return [(folder / f"{name}.dcm").read_bytes() for name in names]


def test_a_site_outlives_hundreds_of_hostile_files(shared_data: Path) -> None:
    data = run(shared_data / "dicom" / "pydicom_test_files", seconds=600, seed=3, most=201)
    assert list(missed(data | {"over_limit": 0})) == []  # how long a file takes, a busy machine decides
    assert data["inputs"] >= 201
    assert data["images"] == data["used"] + sum(data["set_aside"].values())
    assert data["kinds"].keys() >= {*KINDS, "name", "link", "pipe", "socket", "sparse", "module", "sound"}
    assert data["used"] > 10
    assert {"unreadable", "no_pixels", "too_large", "not_an_image"} <= data["set_aside"].keys()
    assert envelope("bench.hostile", Answer(data, show(data)))


def test_the_seed_decides_every_byte(sound: list[bytes]) -> None:
    first, again, other = (list(damaged(sound, np.random.default_rng(seed))) for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_any_file(sound: list[bytes], kind: str) -> None:
    chance = np.random.default_rng(1)
    made = [KINDS[kind](data, sound[0], chance) for data in sound]
    assert sum(one != data for one, data in zip(made, sound, strict=True)) >= len(sound) - 1
    tiny = [KINDS[kind](bytes([number]), b"x", chance) for number in range(8)]
    assert all(isinstance(one, bytes) for one in tiny)


def test_what_lies_in_a_folder_is_counted(sound: list[bytes], tmp_path: Path) -> None:
    laid = Laid(tmp_path, np.random.default_rng(2))
    laid.lay(sound)
    links = sum(Path(parent, name).is_symlink() for parent, folders, _ in os.walk(tmp_path) for name in folders)
    assert laid.files == links + sum(len(names) for _, _, names in os.walk(tmp_path))
    shutil.rmtree(tmp_path)


class SlowFrames:
    """Three frames of one file, which take 1, 2 and 3 s of this clock, and one of another, which takes 4."""

    labels_unused = mask_files = 0
    unmapped = Unmapped()
    now = 0.0
    every = tuple(Row("dicom", file, index, "") for file, index in (("a", 0), ("a", 1), ("a", 2), ("b", 0)))

    def rows(self) -> Iterator[Row]:
        return iter(self.every)

    def decode(self, rows: Iterable[Row]) -> Iterator[Reason]:
        for number, _ in enumerate(rows, start=1):
            self.now += number
            yield Reason.UNREADABLE

    def masks(self, rows: Iterable[Row]) -> Iterator[Reason]:
        return iter(())


def test_a_file_is_timed_to_its_last_frame() -> None:
    frames = SlowFrames()
    timed = Timed(frames, clock=lambda: frames.now)
    assert len(list(timed.decode(timed.rows()))) == 4
    assert (timed.slowest_s, timed.slowest_file_s) == (4, 6)


@pytest.mark.parametrize("name", ["slowest_s", "slowest_file_s", "site_bytes"])
def test_what_goes_beyond_a_limit_is_counted(tmp_path: Path, name: str) -> None:
    said = dict.fromkeys(("images", "used", "files", "slowest_s", "slowest_file_s", "decoder_bytes", "site_bytes"), 0)
    laid, found = Laid(tmp_path, np.random.default_rng(2)), Found()
    judge({**said, "set_aside": {}, "sound": True}, laid, found)
    assert found.over_limit == 0
    judge({**said, "set_aside": {}, "sound": True, name: 2**40}, laid, found)
    assert found.over_limit == 1


def test_a_broken_promise_is_named() -> None:
    kept = dict.fromkeys(("site_crashes", "unaccounted", "sound_lost", "over_limit", "written_outside_cache"), 0)
    assert list(missed({"inputs": 1, **kept})) == []
    assert list(missed({"inputs": 0, **kept})) == ["No file was tried."]
    for name in kept:
        assert next(missed({"inputs": 1, **kept, name: 3})).startswith("3 ")


def test_a_folder_with_an_image_is_asked_for(tmp_path: Path) -> None:
    done = wardround("bench", "hostile", "--folder", tmp_path / "nowhere", "--json")
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (3, False)
    (tmp_path / "1.dcm").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="no image to begin with"):
        run(tmp_path, seconds=1, seed=0)
