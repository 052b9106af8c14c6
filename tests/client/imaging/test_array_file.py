"""The growing array file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.imaging.array_file import ArrayFile, open_array

SHAPE = (2, 4, 4)


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 65536, (count, *SHAPE), dtype=np.uint16)


@pytest.mark.parametrize("count", [1, 7, 1234])
def test_what_is_appended_is_read_back_as_a_map(tmp_path: Path, count: int) -> None:
    images = _images(count)
    with ArrayFile(tmp_path / "a.npy", SHAPE) as file:
        for image in images:
            file.append(image)
    found = open_array(tmp_path / "a.npy", count=count, shape=SHAPE)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), images)


def test_an_empty_file(tmp_path: Path) -> None:
    with ArrayFile(tmp_path / "a.npy", SHAPE):
        pass
    assert open_array(tmp_path / "a.npy", count=0, shape=SHAPE).shape == (0, *SHAPE)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with ArrayFile(tmp_path / "a.npy", SHAPE):
        pass
    assert (tmp_path / "a.npy").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wrong", [np.zeros((2, 4, 5), dtype=np.uint16), np.zeros(SHAPE, dtype=np.float32)])
def test_another_shape_or_dtype_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with ArrayFile(tmp_path / "a.npy", SHAPE) as file, pytest.raises(ValueError, match="shape or dtype"):
        file.append(wrong)


@pytest.mark.parametrize(("count", "shape"), [(2, SHAPE), (3, (2, 4, 5))])
def test_a_file_of_another_size_is_refused(tmp_path: Path, count: int, shape: tuple[int, ...]) -> None:
    with ArrayFile(tmp_path / "a.npy", SHAPE) as file:
        for image in _images(3):
            file.append(image)
    with pytest.raises(ValueError, match="shape or dtype"):
        open_array(tmp_path / "a.npy", count=count, shape=shape)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    with ArrayFile(tmp_path / "a.npy", SHAPE) as file:
        for image in _images(3):
            file.append(image)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-10])
    with pytest.raises(ValueError, match="mmap length"):
        open_array(tmp_path / "a.npy", count=3, shape=SHAPE)


def test_a_full_disk_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    program = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from client.imaging.array_file import ArrayFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    with ArrayFile(Path(sys.argv[1]), (1, 64, 64)) as file:\n"
        "        for _ in range(1000): file.append(np.zeros((1, 64, 64), np.uint16))\n"
        "except OSError as error: print('refused', error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.npy")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused")
