"""A folder of images beside a table of labels."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.imaging.catalogue import Reason, Row, pseudonym
from client.imaging.dicom import Dicom
from client.imaging.examples import Split
from client.imaging.folder import MAX_FILE_BYTES, Facts, FolderSource, Pixels
from client.imaging.labels import Key, read_labels
from client.imaging.vocabulary import Vocabulary
from shared.errors import ResourceError
from shared.study import TaskSpec

Write = Callable[..., Path]
Encode = Callable[..., bytes]


class Loud:
    """A format whose files say what to do: a patient's name, or an exception to raise."""

    source = "loud"
    keys: tuple[Key, ...] = ("file",)

    def facts(self, data: bytes) -> Facts:
        if data == b"crash":
            warnings.warn("Planted^Name", stacklevel=1)
            logging.getLogger("loud").error("Planted^Name")
            raise RecursionError("Planted^Name")
        return Facts(patient=data.decode())

    def pixels(self, data: bytes) -> Pixels:
        if data == b"late":
            raise MemoryError
        return np.zeros((2, 2), dtype=np.uint16)


@pytest.fixture
def loud(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes) -> Callable[..., FolderSource]:
    def build(*lines: tuple[str, str, str]) -> FolderSource:
        labels = write_table(["file", "label", "patient"], *lines)
        table = read_labels(labels, Vocabulary(binary, {}), keys=("file",))
        return FolderSource(tmp_path / "images", table=table, skip=labels, form=Loud(), salt=salt)

    (tmp_path / "images").mkdir()
    return build


@pytest.fixture
def dicom(tmp_path: Path, binary: TaskSpec, salt: bytes) -> Callable[[Path], FolderSource]:
    def build(labels: Path) -> FolderSource:
        table = read_labels(labels, Vocabulary(binary, {}), keys=Dicom.keys)
        return FolderSource(tmp_path / "images", table=table, skip=labels, form=Dicom(), salt=salt)

    (tmp_path / "images" / "deep").mkdir(parents=True)
    return build


def test_every_file_becomes_a_row_in_the_order_of_paths(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    for name in ("b", "a/2", "a/1", "c"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_text(name)
    files = [row.file for row in loud().rows()]
    assert files == ["b", "c", "a/1", "a/2"]


def test_a_crash_costs_one_file_and_says_nothing(
    tmp_path: Path, loud: Callable[..., FolderSource], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images" / "1").write_text("crash")
    (tmp_path / "images" / "2").write_text("P-2")
    rows = list(loud(("1", "1", ""), ("2", "1", "")).rows())
    assert [row.set_aside for row in rows] == [Reason.UNREADABLE, None]
    assert caplog.records == []
    assert logging.root.manager.disable == logging.NOTSET


def test_a_file_that_fails_late_costs_one_file(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "1").write_text("late")
    (tmp_path / "images" / "2").write_text("P-2")
    source = loud(("1", "1", "x"), ("2", "1", "y"))
    first, second = source.decode(source.rows())
    assert first is Reason.UNREADABLE
    assert isinstance(second, np.ndarray)


def test_a_file_changed_since_the_catalogue_is_not_used(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "1").write_text("P-1")
    source = loud(("1", "1", ""))
    rows = list(source.rows())
    (tmp_path / "images" / "1").write_text("P-9")
    assert list(source.decode(rows)) == [Reason.UNREADABLE]
    (tmp_path / "images" / "1").unlink()
    assert list(source.decode(rows)) == [Reason.NOT_AN_IMAGE]


def test_the_order_of_reasons(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    for name, text in {"1": "P-1", "2": "P-1", "3": "", "4": "P-4", "5": "P-5"}.items():
        (tmp_path / "images" / name).write_text(text)
    rows = list(loud(("1", "1", ""), ("2", "1", ""), ("3", "1", ""), ("5", "?", "")).rows())
    reasons = [None, Reason.DUPLICATE, Reason.NO_PATIENT, Reason.UNLABELLED, Reason.LABEL_UNKNOWN]
    assert [row.set_aside for row in rows] == reasons


def test_the_table_may_name_another_patient_than_the_file(
    tmp_path: Path, loud: Callable[..., FolderSource], salt: bytes
) -> None:
    (tmp_path / "images" / "1").write_text("ANONYMISED")
    (row,) = loud(("1", "1", "P-7")).rows()
    assert row.patient == pseudonym(salt, "P-7")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    with (tmp_path / "images" / "1").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    (row,) = loud(("1", "1", "x")).rows()
    assert row.set_aside is Reason.TOO_LARGE


def test_a_pipe_does_not_block(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    os.mkfifo(tmp_path / "images" / "1")
    (row,) = loud(("1", "1", "x")).rows()
    assert row.set_aside is Reason.NOT_AN_IMAGE


def test_a_loop_of_links_ends(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "1").write_text("P-1")
    (tmp_path / "images" / "gone").symlink_to(tmp_path / "nowhere")
    assert [row.set_aside for row in loud(("1", "1", "")).rows()] == [None, Reason.NOT_AN_IMAGE]


def test_lines_without_a_file_are_counted(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "1").write_text("crash")
    source = loud(("1", "1", ""), ("2", "1", ""))
    assert len(list(source.rows())) == 1
    assert source.labels_unused == 1


def test_a_missing_folder_is_refused(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes) -> None:
    labels = write_table(["file", "label"])
    table = read_labels(labels, Vocabulary(binary, {}), keys=("file",))
    with pytest.raises(ResourceError, match="does not exist"):
        FolderSource(tmp_path / "absent", table=table, skip=labels, form=Loud(), salt=salt)


@pytest.mark.parametrize(("column", "value"), [("file", "deep/1.dcm"), ("accession", "A-1"), ("patient", "P-1")])
def test_dicom_is_labelled_by_any_of_three_keys(
    tmp_path: Path,
    dicom: Callable[[Path], FolderSource],
    dicom_bytes: Encode,
    write_table: Write,
    column: str,
    value: str,
    salt: bytes,
) -> None:
    (tmp_path / "images" / "deep" / "1.dcm").write_bytes(dicom_bytes())
    (row,) = dicom(write_table([column, "label", "split"], [value, "1", "test"])).rows()
    assert (row.set_aside, row.labels, row.split) == (None, (1,), Split.TEST)
    assert row.patient == pseudonym(salt, "P-1")
    assert row.exam is not None
    assert row.series is not None
    assert row.exam != row.series


def test_the_same_instance_twice_is_used_once(
    tmp_path: Path,
    dicom: Callable[[Path], FolderSource],
    make_dicom: Callable[..., object],
    write_table: Write,
) -> None:
    dataset = make_dicom()
    for name in ("1.dcm", "2.dcm"):
        dataset.ImageComments = name  # type: ignore[attr-defined]
        dataset.save_as(tmp_path / "images" / name, enforce_file_format=True)  # type: ignore[attr-defined]
    rows = list(dicom(write_table(["patient", "label"], ["P-1", "1"])).rows())
    assert [row.set_aside for row in rows] == [None, Reason.DUPLICATE]


def test_no_identifier_stands_in_a_row(
    tmp_path: Path, dicom: Callable[[Path], FolderSource], dicom_bytes: Encode, write_table: Write
) -> None:
    (tmp_path / "images" / "Planted^Name.dcm").write_bytes(dicom_bytes(StudyInstanceUID="1.2.3.4.5.6789"))
    rows: list[Row] = list(dicom(write_table(["patient", "label"], ["P-1", "1"])).rows())
    text = repr(rows)
    assert not any(word in text for word in ("Planted", "P-1", "6789"))


@pytest.mark.parametrize("name", ["pydicom_data", "pydicom_test_files", "mr_series_24"])
def test_real_files_never_stop_the_catalogue(
    tmp_path: Path, shared_data: Path, write_table: Write, binary: TaskSpec, salt: bytes, name: str
) -> None:
    folder = shared_data / "dicom" / name
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    labels = write_table(["file", "label", "patient"], *([file, "1", f"p{i}"] for i, file in enumerate(files)))
    table = read_labels(labels, Vocabulary(binary, {}), keys=Dicom.keys)
    source = FolderSource(folder, table=table, skip=labels, form=Dicom(), salt=salt)
    rows = list(source.rows())
    used = [row for row in rows if row.set_aside is None]
    decoded = list(source.decode(used))
    assert sorted(row.file for row in rows) == files
    assert source.labels_unused == 0
    assert len(decoded) == len(used) >= {"pydicom_data": 15, "pydicom_test_files": 15, "mr_series_24": 24}[name]
    images = [pixels for pixels in decoded if not isinstance(pixels, Reason)]
    assert len(images) >= 0.9 * len(used)
    assert all(image.dtype == np.uint16 and image.ndim in (2, 3) for image in images)
