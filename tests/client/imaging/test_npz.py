"""Array files in both forms."""

import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.imaging.catalogue import pseudonym
from client.imaging.examples import Split
from client.imaging.npz import ArraySource
from client.imaging.npz_archive import reading
from client.imaging.reasons import Reason
from client.imaging.vocabulary import Vocabulary
from shared.errors import ConfigError, ResourceError
from shared.study import TaskSpec

Write = Callable[..., Path]
SPLITS = [Split.TRAIN, Split.VALIDATION, Split.TEST]


def _source(path: Path, task: TaskSpec, **words: str) -> ArraySource:
    return ArraySource(path, vocabulary=Vocabulary(task, words), salt=bytes(32))


def _medmnist(count: int = 4, shape: tuple[int, ...] = (12, 12)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    arrays = {}
    for name in ("train", "val", "test"):
        arrays[f"{name}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{name}_labels"] = rng.integers(0, 2, (count, 1), dtype=np.uint8)
    return arrays


def test_medmnist(write_npz: Write, binary: TaskSpec) -> None:
    arrays = _medmnist()
    source = _source(write_npz(**arrays), binary)
    rows = list(source.rows())
    assert [row.split for row in rows] == [split for split in SPLITS for _ in range(4)]
    assert len({row.patient for row in rows}) == 12
    labels = np.concatenate([arrays[f"{name}_labels"][:, 0] for name in ("train", "val", "test")])
    assert [row.labels for row in rows] == [(int(label),) for label in labels]
    images = np.concatenate([arrays[f"{name}_images"] for name in ("train", "val", "test")])
    np.testing.assert_array_equal(np.stack(list(source.decode(rows))), images.astype(np.uint16) * 257)  # type: ignore[arg-type]


def test_flat_with_patients(write_npz: Write, binary: TaskSpec, flat_arrays: Mapping[str, np.ndarray]) -> None:
    rows = list(_source(write_npz(**flat_arrays), binary).rows())
    assert [row.patient for row in rows[:4]] == [pseudonym(bytes(32), f"patient-{n}") for n in (0, 0, 0, 1)]
    assert {row.split for row in rows} == {None}


def test_flat_without_patients_has_one_per_image(write_npz: Write, binary: TaskSpec) -> None:
    path = write_npz(images=np.zeros((5, 8, 8), dtype=np.uint8), labels=np.zeros(5, dtype=np.int64))
    assert len({row.patient for row in _source(path, binary).rows()}) == 5


@pytest.mark.parametrize(
    ("split", "found"),
    [
        (np.array([0, 1, 0, 1]), [Split.TRAIN, Split.TEST, Split.TRAIN, Split.TEST]),
        (np.array([0, 1, 2, 1]), [Split.TRAIN, Split.VALIDATION, Split.TEST, Split.VALIDATION]),
        (np.array(["train", "test", "val", "validation"]), [Split.TRAIN, Split.TEST, *[Split.VALIDATION] * 2]),
    ],
)
def test_words_and_codes_of_splits(write_npz: Write, binary: TaskSpec, split: np.ndarray, found: list[Split]) -> None:
    path = write_npz(images=np.zeros((4, 8, 8), dtype=np.uint8), labels=np.zeros(4, dtype=np.uint8), split=split)
    assert [row.split for row in _source(path, binary).rows()] == found


def test_labels_outside_the_task_are_set_aside(write_npz: Write, binary: TaskSpec, multiclass: TaskSpec) -> None:
    path = write_npz(images=np.zeros((4, 8, 8), dtype=np.uint8), labels=np.array([0, 1, 2, 3]))
    unknown = Reason.LABEL_UNKNOWN
    assert [row.set_aside for row in _source(path, binary).rows()] == [None, None, unknown, unknown]
    assert [row.set_aside for row in _source(path, multiclass).rows()] == [None, None, None, unknown]
    mapped = list(_source(path, binary, **{"2": "Pneumonia", "3": "negative"}).rows())
    assert [row.labels for row in mapped] == [(0,), (1,), (1,), (0,)]


def test_multilabel(write_npz: Write, multilabel: TaskSpec, binary: TaskSpec) -> None:
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 2, 0]])
    path = write_npz(images=np.zeros((3, 8, 8), dtype=np.uint8), labels=labels)
    rows = list(_source(path, multilabel).rows())
    assert [row.labels for row in rows] == [(1, 0, 1), (0, 0, 0), None]
    assert {row.set_aside for row in _source(path, binary).rows()} == {Reason.LABEL_UNKNOWN}


def test_an_empty_patient_is_set_aside(write_npz: Write, binary: TaskSpec) -> None:
    path = write_npz(
        images=np.zeros((2, 8, 8), dtype=np.uint8), labels=np.zeros(2, dtype=int), patient=np.array([" ", "b"])
    )
    assert [row.set_aside for row in _source(path, binary).rows()] == [Reason.NO_PATIENT, None]


@pytest.mark.parametrize(("shape", "dtype"), [((12, 10), np.uint16), ((12, 10, 1), np.uint8), ((12, 10, 3), np.uint8)])
def test_shapes_and_dtypes(write_npz: Write, binary: TaskSpec, shape: tuple[int, ...], dtype: type) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(dtype)
    source = _source(write_npz(images=images, labels=np.zeros(3, dtype=int)), binary)
    found = list(source.decode(source.rows()))
    expected = (images.astype(np.uint16) * (257 if dtype == np.uint8 else 1)).reshape(3, *shape[: 2 + (shape[-1] == 3)])
    np.testing.assert_array_equal(np.stack(found), expected)  # type: ignore[arg-type]


def test_only_the_rows_asked_for_are_decoded(write_npz: Write, binary: TaskSpec) -> None:
    images = np.arange(10, dtype=np.uint16)[:, None, None] * np.ones((1, 8, 8), dtype=np.uint16)
    source = _source(write_npz(images=images, labels=np.zeros(10, dtype=int)), binary)
    rows = [row for row in source.rows() if row.index in (2, 3, 7)]
    assert [int(image[0, 0]) for image in source.decode(rows)] == [2, 3, 7]  # type: ignore[index]


def test_other_arrays_are_not_read(write_npz: Write, binary: TaskSpec, flat_arrays: Mapping[str, np.ndarray]) -> None:
    path = write_npz(**flat_arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.npy", b"not an array")
        archive.writestr("readme.txt", b"hello")
    assert len(list(_source(path, binary).rows())) == 60


ZEROS: dict[str, Any] = {"images": np.zeros((4, 8, 8), dtype=np.uint8), "labels": np.zeros(4, dtype=int)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros(3)}, "neither `images`"),
        ({"images": ZEROS["images"]}, "no array `labels`"),
        ({**ZEROS, "images": np.zeros((4, 8, 8))}, "another form"),
        ({**ZEROS, "images": np.zeros((4, 8, 8, 2), dtype=np.uint8)}, "another form"),
        ({**ZEROS, "images": np.zeros((4, 64), dtype=np.uint8)}, "another form"),
        ({**ZEROS, "images": np.zeros((4, 0, 8), dtype=np.uint8)}, "empty or larger"),
        ({**ZEROS, "images": np.asfortranarray(np.zeros((4, 8, 8), dtype=np.uint8))}, "column order"),
        ({**ZEROS, "labels": np.zeros(3, dtype=int)}, "another length"),
        ({**ZEROS, "split": np.array([0, 1, 3, 0])}, "split that is not"),
        ({**ZEROS, "split": np.array(["train"] * 3 + ["holdout"])}, "split that is not"),
    ],
)
def test_files_in_another_form_are_refused(
    write_npz: Write, binary: TaskSpec, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        list(_source(write_npz(**arrays), binary).rows())


def test_nothing_is_unpickled(tmp_path: Path, binary: TaskSpec) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, images=ZEROS["images"], labels=np.array([0, 1, {}, None], dtype=object))
    with pytest.raises(ConfigError, match="objects"):
        list(_source(path, binary).rows())


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path, binary: TaskSpec) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (4, 2**40)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("labels.npy", header.getvalue())
        with archive.open("images.npy", "w") as member:
            np.lib.format.write_array(member, ZEROS["images"])
    with pytest.raises(ConfigError, match="too large"):
        list(_source(tmp_path / "a.npz", binary).rows())


def test_a_member_that_ends_early_costs_its_last_images(tmp_path: Path, binary: TaskSpec) -> None:
    images, labels = BytesIO(), BytesIO()
    np.lib.format.write_array(images, ZEROS["images"])
    np.lib.format.write_array(labels, ZEROS["labels"])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", images.getvalue()[:-70])
        archive.writestr("labels.npy", labels.getvalue())
    source = _source(tmp_path / "a.npz", binary)
    decoded = list(source.decode(source.rows()))
    assert [isinstance(item, Reason) for item in decoded] == [False, False, True, True]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, binary: TaskSpec, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="not an"):
        _source(tmp_path / "a.npz", binary)


def test_what_the_system_refuses_is_no_damage(write_npz: Write, binary: TaskSpec) -> None:
    path = write_npz(**ZEROS)
    source = _source(path, binary)
    rows = list(source.rows())
    path.unlink()
    for work in (source.rows, lambda: source.decode(rows)):
        with pytest.raises(ResourceError, match="the system refused"):
            list(work())


def test_an_error_of_ours_is_no_damage(write_npz: Write) -> None:
    with pytest.raises(ValueError, match="ours"), reading(write_npz(**ZEROS), "images"):
        raise ValueError("ours")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_named_however_the_archive_is_compressed(tmp_path: Path, binary: TaskSpec, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        for name, values in ZEROS.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values)
    (at,) = [
        one.header_offset for one in zipfile.ZipFile(tmp_path / "a.npz").infolist() if one.filename == "labels.npy"
    ]
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[at + 55 : at + 75] = bytes(20)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="array"):
        list(_source(tmp_path / "a.npz", binary).rows())


def test_a_missing_file_is_refused(tmp_path: Path, binary: TaskSpec) -> None:
    with pytest.raises(ResourceError, match="does not exist"):
        _source(tmp_path / "absent.npz", binary)


def test_pneumoniamnist(shared_data: Path, binary: TaskSpec) -> None:
    rows = list(_source(shared_data / "pneumoniamnist" / "pneumoniamnist.npz", binary).rows())
    found = Counter((row.split, row.labels) for row in rows)
    assert [found[split, (label,)] for split in SPLITS for label in (0, 1)] == [1214, 3494, 135, 389, 234, 390]


def test_ham10000(shared_data: Path) -> None:
    task = TaskSpec(mode="multiclass", classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"))
    rows = list(_source(shared_data / "ham10000_sites" / "images.npz", task).rows())
    assert Counter(row.split for row in rows) == {Split.TRAIN: 6661, Split.TEST: 997}
    assert len({row.patient for row in rows}) == 5750
