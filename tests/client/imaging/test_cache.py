"""From settings to arrays, and the cache in between."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from client.imaging.cache import prepare
from client.imaging.examples import Examples, SiteData, Split
from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from shared.errors import ResourceError, WardroundError
from shared.images import ImageSpec
from shared.study import TaskSpec

Write = Callable[..., Path]
Prepare = Callable[..., SiteData]
SMALL = ImageSpec(size_px=16)


@pytest.fixture
def npz(tmp_path: Path, write_npz: Write, flat_arrays: Mapping[str, np.ndarray], binary: TaskSpec) -> Prepare:
    """Prepare the flat arrays; keywords change what is asked."""
    write_npz(**flat_arrays)

    def run(images: ImageSpec = SMALL, *, words: dict[str, str] | None = None, **changes: Any) -> SiteData:
        settings = DataSettings.model_validate({"kind": "npz", "file": "images.npz", **changes})
        place = {"base": tmp_path, "cache": tmp_path / "cache"}
        labels = LabelSettings(words=words or {})
        return prepare(settings, task=binary, images=images, salt=bytes(32), labels=labels, **place)

    return run


def _splits(data: SiteData) -> list[Examples]:
    return [data.train, data.validation, data.test]


def _entries(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").iterdir() if not path.name.startswith("."))


def _stamps(tmp_path: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.npy")}


def test_shapes_and_dtypes(npz: Prepare) -> None:
    data = npz()
    assert data.counts.used == sum(len(part) for part in _splits(data)) == 60
    for part in _splits(data):
        assert isinstance(part.images, np.memmap)
        assert (part.images.dtype, part.images.shape[1:]) == (np.uint16, (1, 16, 16))
        assert (part.labels.dtype, part.labels.shape) == (np.int64, (len(part),))
        assert sorted(set(part.patients.tolist())) == list(range(part.patient_count))
        assert len(part) == 3 * part.patient_count


def test_images_labels_and_patients_belong_together(tmp_path: Path, write_npz: Write, multiclass: TaskSpec) -> None:
    """Each image holds its own label and patient as grey values."""
    count = 90
    labels, patients = np.arange(count) % 3, np.arange(count) % 30
    images = np.zeros((count, 16, 16), dtype=np.uint16)
    images[:, 0, 0], images[:, 0, 1] = labels, patients
    write_npz(images=images, labels=labels, patient=patients)
    data = prepare(
        DataSettings(kind="npz", file=Path("images.npz"), validation_fraction=0.3, test_fraction=0.3),
        task=multiclass,
        images=SMALL,
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
    )
    seen = []
    for part in _splits(data):
        np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels)
        for number in range(part.patient_count):
            (patient,) = set(part.images[part.patients == number, 0, 0, 1].tolist())
            seen.append(patient)
    assert sorted(seen) == list(range(30))


def test_multilabel_labels_have_one_column_per_class(tmp_path: Path, write_npz: Write, multilabel: TaskSpec) -> None:
    flags = np.eye(3, dtype=np.uint8)
    write_npz(images=np.zeros((3, 16, 16), dtype=np.uint8), labels=flags, split=np.array(["train"] * 3))
    data = prepare(
        DataSettings(kind="npz", file=Path("images.npz"), validation_fraction=0),
        task=multilabel,
        images=SMALL,
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
    )
    np.testing.assert_array_equal(data.train.labels, flags)
    assert data.test.labels.shape == (0, 3)
    assert data.test.images.shape == (0, 1, 16, 16)


def test_the_second_time_nothing_is_written(tmp_path: Path, npz: Prepare) -> None:
    first = npz()
    stamps = _stamps(tmp_path)
    second = npz()
    assert _stamps(tmp_path) == stamps
    assert (first.manifest, first.counts) == (second.manifest, second.counts)
    np.testing.assert_array_equal(first.train.images, second.train.images)


def test_augmentation_does_not_change_the_cache(tmp_path: Path, npz: Prepare) -> None:
    npz()
    npz(ImageSpec(size_px=16, augment="light"))
    assert len(_entries(tmp_path)) == 1


@pytest.mark.parametrize("images", [ImageSpec(size_px=17), ImageSpec(size_px=16, channels=3)])
def test_another_image_size_is_another_entry(tmp_path: Path, npz: Prepare, images: ImageSpec) -> None:
    npz()
    assert npz(images).train.images.shape[1:] == (images.channels, images.size_px, images.size_px)
    assert len(_entries(tmp_path)) == 2


def test_other_bytes_are_another_entry(
    tmp_path: Path, npz: Prepare, write_npz: Write, flat_arrays: Mapping[str, np.ndarray]
) -> None:
    first = npz()
    write_npz(**{**flat_arrays, "images": flat_arrays["images"][::-1]})
    second = npz()
    assert first.manifest != second.manifest
    assert not np.array_equal(first.train.images, second.train.images)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "entry.json").unlink(),
        lambda entry: (entry / "entry.json").write_text("{"),
        lambda entry: (entry / "train.npy").unlink(),
        lambda entry: (entry / "train.npy").write_bytes(b""),
        lambda entry: (entry / "train.npy").write_bytes((entry / "train.npy").read_bytes()[:-100]),
        lambda entry: (entry / "test.npy").write_bytes((entry / "train.npy").read_bytes()),
        lambda entry: (entry / "entry.json").write_text(
            (entry / "entry.json").read_text().replace(entry.name, "0" * 64)
        ),
    ],
)
def test_a_damaged_entry_is_built_again(tmp_path: Path, npz: Prepare, damage: Callable[[Path], object]) -> None:
    expected = [part.images.copy() for part in _splits(npz())]
    (entry,) = _entries(tmp_path)
    damage(entry)
    for part, images in zip(_splits(npz()), expected, strict=True):
        np.testing.assert_array_equal(part.images, images)
    assert _entries(tmp_path) == [entry]


def test_what_a_crash_left_is_swept(tmp_path: Path, npz: Prepare) -> None:
    (tmp_path / "cache" / ".building").mkdir(parents=True)
    (tmp_path / "cache" / ".building" / "train.npy").write_bytes(b"half")
    npz()
    assert not (tmp_path / "cache" / ".building").exists()


def test_only_the_owner_may_read_the_cache(tmp_path: Path, npz: Prepare) -> None:
    npz()
    (entry,) = _entries(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cache", entry)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in entry.iterdir()} == {0o600}


def test_no_patient_or_file_name_stands_in_the_cache(tmp_path: Path, npz: Prepare) -> None:
    npz()
    (entry,) = _entries(tmp_path)
    assert set(json.loads((entry / "entry.json").read_bytes())) == {"version", "key", "counts", "failed"}


def test_a_patient_keeps_the_split_whatever_else_the_study_asks(npz: Prepare) -> None:
    one, other = npz(), npz(ImageSpec(size_px=20), words={"0": "Pneumonia", "1": "negative"})
    assert one.counts.patients == other.counts.patients
    np.testing.assert_array_equal(one.test.patients, other.test.patients)
    np.testing.assert_array_equal(one.test.labels, 1 - other.test.labels)


def test_nothing_usable_is_three_empty_splits(tmp_path: Path, write_npz: Write, binary: TaskSpec) -> None:
    write_npz(images=np.zeros((2, 16, 16), dtype=np.uint8), labels=np.array([7, 8]))
    settings = DataSettings(kind="npz", file=Path("images.npz"))
    data = prepare(settings, task=binary, images=SMALL, salt=bytes(32), base=tmp_path, cache=tmp_path / "cache")
    assert [len(part) for part in _splits(data)] == [0, 0, 0]
    assert data.counts.set_aside == {"label_unknown": 2}


def _pictures(tmp_path: Path, write_table: Write) -> DataSettings:
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for number in range(20):
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8))
        picture.save(folder / f"{number}.png")
        lines.append([f"{number}.png", "yes" if number % 2 else "no", f"P-{number // 2}"])
    half = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(half[: len(half) // 2])
    (folder / "notes.txt").write_text("hello")
    write_table(["file", "label", "patient"], *lines)
    return DataSettings(kind="pictures", folder=Path("pictures"), labels=Path("labels.csv"))


def test_one_bad_picture_costs_one_picture(tmp_path: Path, write_table: Write, binary: TaskSpec) -> None:
    settings = _pictures(tmp_path, write_table)
    for _ in range(2):  # the second time from the cache
        data = prepare(settings, task=binary, images=SMALL, salt=bytes(32), base=tmp_path, cache=tmp_path / "cache")
        assert (data.counts.found, data.counts.used) == (21, 19)
        assert data.counts.set_aside == {"unreadable": 1, "not_an_image": 1}
        assert sum(part.patient_count for part in _splits(data)) == 10
        assert sum(len(part) for part in _splits(data)) == 19


PREPARE = """
import resource, sys
from pathlib import Path
from client.imaging.cache import prepare
from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from shared.errors import ResourceError
from shared.images import ImageSpec
from shared.study import TaskSpec
base, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    prepare(DataSettings(kind="npz", file=Path("images.npz")), task=TaskSpec(classes=("Pneumonia",)),
            images=ImageSpec(size_px=16), salt=bytes(32), base=base, cache=base / "cache")
except ResourceError as error:
    print(error.what)
"""


def _prepare_elsewhere(base: Path, *, limit: int = 10**9) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PREPARE, str(base), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_builders_at_once_make_one_entry(tmp_path: Path, npz: Prepare) -> None:
    builders = [_prepare_elsewhere(tmp_path) for _ in range(2)]
    assert [(builder.communicate()[0], builder.returncode) for builder in builders] == [("", 0), ("", 0)]
    stamps = _stamps(tmp_path)
    npz()
    assert _stamps(tmp_path) == stamps
    assert len(_entries(tmp_path)) == 1


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, npz: Prepare) -> None:
    builder = _prepare_elsewhere(tmp_path, limit=10_000)
    assert builder.communicate()[0] == "The disk of the image cache is full.\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_larger_than_the_disk_is_refused_before_it_is_begun(
    tmp_path: Path, write_npz: Write, binary: TaskSpec
) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    spec = ImageSpec(size_px=1024, channels=3)
    count = free // (3 * 1024 * 1024 * 2) + 1000
    if count > 200_000:
        pytest.skip("the disk is too large for this test")
    write_npz(images=np.zeros((count, 1, 1), dtype=np.uint8), labels=np.zeros(count, dtype=np.uint8))
    with pytest.raises(ResourceError, match="MB free"):
        prepare(
            DataSettings(kind="npz", file=Path("images.npz")),
            task=binary,
            images=spec,
            salt=bytes(32),
            base=tmp_path,
            cache=tmp_path / "cache",
        )


def test_a_cache_folder_that_cannot_be_made_is_said(tmp_path: Path, npz: Prepare) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ResourceError, match="read or written"):
        npz()


def test_real_dicom_from_folder_to_arrays(tmp_path: Path, shared_data: Path, write_table: Write) -> None:
    folder = shared_data / "dicom" / "mr_series_24"
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    labels = write_table(
        ["file", "head", "patient"],
        *([file.as_posix(), int("N2D" in file.name), f"p{n}"] for n, file in enumerate(files)),
    )
    data = prepare(
        DataSettings(kind="dicom", folder=folder, labels=labels, keep=("secondary",)),
        task=TaskSpec(classes=("head",)),
        images=SMALL,
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
    )
    assert data.counts.found == len(files)
    assert data.counts.used == 24
    assert sum(part.get("head", 0) for part in data.counts.classes.values()) == 24
    assert all(part.images.std() > 1000 for part in _splits(data))


def test_errors_name_no_patient_and_no_file(tmp_path: Path, write_table: Write, binary: TaskSpec) -> None:
    secret = "Planted-Name"
    (tmp_path / secret).mkdir()
    Image.new("L", (16, 16)).save(tmp_path / secret / f"{secret}.png")
    Image.new("L", (16, 17)).save(tmp_path / secret / f"{secret}2.png")
    write_table(
        ["file", "label", "patient", "split"],
        [f"{secret}.png", "1", secret, "train"],
        [f"{secret}2.png", "1", secret, "test"],
    )
    settings = DataSettings(kind="pictures", folder=Path(secret), labels=Path("labels.csv"))
    with pytest.raises(WardroundError) as caught:
        prepare(settings, task=binary, images=SMALL, salt=bytes(32), base=tmp_path, cache=tmp_path / "cache")
    assert secret not in caught.value.what + caught.value.remedy


def test_pneumoniamnist_is_the_official_count(tmp_path: Path, shared_data: Path, binary: TaskSpec) -> None:
    data = prepare(
        DataSettings(kind="npz", file=shared_data / "pneumoniamnist" / "pneumoniamnist.npz"),
        task=binary,
        images=ImageSpec(size_px=28),
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
    )
    assert data.counts.examples == {Split.TRAIN: 4708, Split.VALIDATION: 524, Split.TEST: 624}
    with np.load(shared_data / "pneumoniamnist" / "pneumoniamnist.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(data.test.images[:, 0], archive["test_images"].astype(np.uint16) * 257)
        np.testing.assert_array_equal(data.test.labels, archive["test_labels"][:, 0])


def test_the_label_table_may_lie_in_the_folder(tmp_path: Path, binary: TaskSpec) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "1.png")
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "patient"], ["1.png", "1", "P"]])
    settings = DataSettings(kind="pictures", folder=tmp_path, labels=Path("labels.csv"))
    data = prepare(settings, task=binary, images=SMALL, salt=bytes(32), base=tmp_path, cache=tmp_path.parent / "cache")
    assert (data.counts.found, data.counts.used) == (1, 1)


def test_volumes_are_cached_on_the_grid_of_the_study(tmp_path: Path, binary: TaskSpec) -> None:
    """Each volume is as bright as its number; one file is no volume."""
    folder = tmp_path / "images"
    folder.mkdir()
    lines = [["file", "label", "patient", "split"]]
    for number in range(4):
        voxels = np.full((8, 8, 4 if number else 1), -1000, dtype=np.int16)
        voxels[2:6, 2:6], voxels[0, 0] = 100 * number, -900
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{number}.nii.gz")
        lines.append([f"{number}.nii.gz", str(number % 2), f"p{number}", "train"])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    data = prepare(
        DataSettings(kind="nifti", folder=Path("images"), labels=Path("labels.csv"), validation_fraction=0),
        task=binary,
        images=ImageSpec(size_px=16, slices=8, spacing_mm=(1, 1, 1), hu=(-1000, 1000)),
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
    )
    assert data.counts.set_aside == {"few_slices": 1}
    assert data.train.images.shape == (3, 1, 8, 16, 16)
    assert isinstance(data.train.images, np.memmap)
    np.testing.assert_allclose(data.train.images[:, 0, 3, 8, 8] / 65535, [0.55, 0.6, 0.65], atol=1e-4)
    np.testing.assert_array_equal(data.train.labels, [1, 0, 1])
    assert not data.train.images[:, :, 1].any()
