"""Array files of volumes, in the form of MedMNIST's 3D files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.imaging.cache import prepare
from client.imaging.settings import DataSettings
from client.imaging.sources import Source, open_source
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import TaskSpec

Write = Callable[..., Path]
NPZ = DataSettings(kind="npz", file=Path("volumes.npz"))
CUBE = ImageSpec(size_px=16, slices=16)


def written(write_npz: Write, shape: tuple[int, ...], dtype: type = np.uint8) -> tuple[Path, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    path = write_npz(images=images, labels=np.arange(len(images)) % 2)
    path.rename(path.parent / "volumes.npz")
    return path.parent, images


def opened(base: Path, task: TaskSpec, images: ImageSpec = CUBE) -> Source:
    return open_source(NPZ, task=task, salt=bytes(32), base=base, images=images)


@pytest.mark.parametrize("shape", [(3, 16, 16, 16), (3, 16, 16, 16, 1)])
def test_a_volume_of_the_studys_size_is_taken_as_it_stands(
    write_npz: Write, binary: TaskSpec, shape: tuple[int, ...]
) -> None:
    base, images = written(write_npz, shape)
    source = opened(base, binary)
    found = np.stack(list(source.decode(source.rows())))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, images.reshape(3, 16, 16, 16).astype(np.uint16) * 257)


def test_another_size_is_spread_over_the_whole_height_and_black_outside(write_npz: Write, binary: TaskSpec) -> None:
    base, images = written(write_npz, (1, 8, 16, 12), np.uint16)
    source = opened(base, binary)
    (found,) = source.decode(source.rows())
    assert isinstance(found, np.ndarray)
    assert found.shape == (16, 16, 16)
    assert not found[:, :, :2].any()
    assert not found[:, :, -2:].any()
    np.testing.assert_array_equal(found[0, :, 2:-2], images[0, 0])  # twice as many slices, the first as it was
    assert found[15, :, 2:-2].tolist() == images[0, 7].tolist()


def test_volumes_come_into_the_cache_split_and_labelled(tmp_path: Path, write_npz: Write, binary: TaskSpec) -> None:
    base, _ = written(write_npz, (20, 16, 16, 16))
    data = prepare(NPZ, task=binary, images=CUBE, salt=bytes(32), base=base, cache=tmp_path / "cache")
    assert data.counts.used == 20
    assert data.train.images.shape[1:] == (1, 16, 16, 16)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 16, 16), "has no volumes in `images`"),
        ((3, 16, 16, 3), "has no volumes in `images`"),
        ((3, 16, 16, 16, 2), "has no volumes in `images`"),
        ((3, 2, 16, 16), "fewer than 3 slices"),
        ((3, 16, 0, 16), "are empty"),
    ],
)
def test_pictures_and_too_few_slices_are_no_volumes(
    write_npz: Write, binary: TaskSpec, shape: tuple[int, ...], said: str
) -> None:
    base, _ = written(write_npz, shape)
    with pytest.raises(ConfigError, match=said):
        list(opened(base, binary).rows())


def test_volumes_are_no_pictures(write_npz: Write, binary: TaskSpec) -> None:
    base, _ = written(write_npz, (3, 16, 16, 16))
    with pytest.raises(ConfigError, match="another form"):
        list(opened(base, binary, ImageSpec(size_px=16)).rows())


@pytest.mark.parametrize("more", [{"spacing_mm": (1, 1, 1)}, {"hu": (-1000, 400)}])
def test_arrays_say_neither_millimetres_nor_hounsfield_units(
    write_npz: Write, binary: TaskSpec, more: dict[str, tuple[int, ...]]
) -> None:
    base, _ = written(write_npz, (3, 16, 16, 16))
    images = ImageSpec.model_validate({"size_px": 16, "slices": 16, **more})
    with pytest.raises(ConfigError, match="npz files do not say"):
        opened(base, binary, images)


@pytest.mark.parametrize("form", ["numbers", "channel", "bits"])
def test_masks_of_volumes_come_with_them(tmp_path: Path, write_npz: Write, form: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 16, 12), dtype=np.uint8)
    masks = np.zeros(images.shape, np.uint8)
    masks[:, 2:5, 4:9, 3:7] = 1
    masks[0] = 0
    stored = {"numbers": masks, "channel": masks[..., None], "bits": np.packbits(masks.reshape(20, -1), axis=1)}[form]
    write_npz("volumes.npz", images=images, masks=stored)
    task = TaskSpec(kind="segmentation", classes=("lesion",))
    data = prepare(NPZ, task=task, images=CUBE, salt=bytes(32), base=tmp_path, cache=tmp_path / "cache")
    assert data.counts.used == 20
    found = [part for part in (data.train, data.validation, data.test) if len(part)]
    assert all(part.masks is not None and part.masks.shape[1:] == (16, 16, 16) for part in found)
    assert sum(int(part.labels.sum()) for part in found) == 19
    wanted = np.zeros((16, 16, 16), np.uint16)
    wanted[4:10, 4:9, 5:9] = 1  # twice as many slices, and two columns more on either side
    for part in found:
        for mask, label in zip(part.masks, part.labels, strict=True):
            np.testing.assert_array_equal(mask, wanted * label)


def test_masks_of_other_voxels_than_their_volumes_are_refused(tmp_path: Path, write_npz: Write) -> None:
    write_npz("volumes.npz", images=np.zeros((3, 8, 16, 12), np.uint8), masks=np.zeros((3, 16, 12), np.uint8))
    source = opened(tmp_path, TaskSpec(kind="segmentation", classes=("lesion",)))
    with pytest.raises(ConfigError, match="`masks` in another form"):
        list(source.masks(source.rows()))
