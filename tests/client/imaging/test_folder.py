"""A folder of images beside a table of labels."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from client.imaging.catalogue import Row, pseudonym
from client.imaging.decoder import decoding_command
from client.imaging.examples import Split
from client.imaging.folder import FolderSource
from client.imaging.form import MAX_FILE_BYTES
from client.imaging.labels import LabelTable, read_labels
from client.imaging.reasons import Reason
from client.imaging.rules import USUAL, Rules
from client.imaging.site_table import KEYS
from client.imaging.vocabulary import Vocabulary
from shared.errors import ResourceError
from shared.study import TaskSpec

Write = Callable[..., Path]
Encode = Callable[..., bytes]
LOUD = (sys.executable, str(Path(__file__).parents[2] / "loud_decoding.py"))


@pytest.fixture
def loud(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes) -> Callable[..., FolderSource]:
    def build(*lines: tuple[str, str, str]) -> FolderSource:
        labels = write_table(["file", "label", "patient"], *lines)
        table = read_labels(labels, Vocabulary(binary, {}), keys=("file",))
        return _source(tmp_path / "images", table, labels, salt, command=LOUD)

    (tmp_path / "images").mkdir()
    return build


@pytest.fixture
def dicom(tmp_path: Path, binary: TaskSpec, salt: bytes) -> Callable[..., FolderSource]:
    def build(labels: Path, rules: Rules = USUAL) -> FolderSource:
        table = read_labels(labels, Vocabulary(binary, {}), keys=KEYS["dicom"])
        return _source(tmp_path / "images", table, labels, salt, rules=rules)

    (tmp_path / "images" / "deep").mkdir(parents=True)
    return build


def _source(
    folder: Path,
    table: LabelTable | None,
    labels: Path | None,
    salt: bytes,
    *,
    command: Sequence[str] | None = None,
    rules: Rules = USUAL,
) -> FolderSource:
    command = [*command, str(folder), "60", str(2**32)] if command else decoding_command("dicom", folder)
    return FolderSource(folder, table=table, skip=labels, source="dicom", command=command, salt=salt, rules=rules)


def test_every_file_becomes_a_row_in_the_order_of_paths(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    for name in ("b", "a/2", "a/1", "c"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_text(name)
    files = [row.file for row in loud().rows()]
    assert files == ["b", "c", "a/1", "a/2"]


def test_a_file_that_cannot_be_read_costs_one_file_and_says_nothing(
    tmp_path: Path, loud: Callable[..., FolderSource], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images" / "1").write_text("raise")
    (tmp_path / "images" / "2").write_text("late raise")
    (tmp_path / "images" / "3").write_text("P-3")
    source = loud(("1", "1", ""), ("2", "1", ""), ("3", "1", ""))
    rows = list(source.rows())
    assert [row.set_aside for row in rows] == [Reason.UNREADABLE, None, None]
    second, third = source.decode(rows[1:])
    assert second is Reason.UNREADABLE
    assert isinstance(third, np.ndarray)
    assert "".join(capfd.readouterr()) == ""


def test_every_frame_is_an_image(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "1").write_text("three")
    source = loud(("1", "1", "x"))
    rows = list(source.rows())
    assert [(row.index, row.set_aside) for row in rows] == [(0, None), (1, None), (2, None)]
    assert [image[0, 0] for image in source.decode([rows[0], rows[2]])] == [0, 2]  # type: ignore[index]


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


def test_a_word_for_nobody_is_no_patient_unless_the_table_names_one(
    tmp_path: Path, dicom: Callable[[Path], FolderSource], dicom_bytes: Encode, write_table: Write, salt: bytes
) -> None:
    (tmp_path / "images" / "1.dcm").write_bytes(dicom_bytes(PatientID="Anonymous", PatientSex="F"))
    (row,) = dicom(write_table(["file", "label"], ["1.dcm", "1"])).rows()
    assert (row.set_aside, row.patient) == (Reason.NO_PATIENT, None)
    (row,) = dicom(write_table(["file", "label", "patient"], ["1.dcm", "1", "P-7"])).rows()
    assert (row.set_aside, row.patient, row.by_header) == (None, pseudonym(salt, "P-7"), False)
    assert (row.birth, row.sex) == (None, pseudonym(salt, "F"))
    (row,) = dicom(write_table(["patient", "label"], ["Anonymous", "1"])).rows()
    assert row.set_aside is Reason.NO_PATIENT  # here the table only repeats what the header says


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
    found = [row.set_aside for row in loud(("1", "1", "")).rows()]
    assert found == [None, Reason.NOT_AN_IMAGE, Reason.FOLDER_LINK]


def test_lines_without_a_file_are_counted(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    (tmp_path / "images" / "1").write_text("raise")
    source = loud(("1", "1", ""), ("2", "1", ""))
    assert len(list(source.rows())) == 1
    assert source.labels_unused == 1


def test_a_missing_folder_is_refused(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes) -> None:
    labels = write_table(["file", "label"])
    table = read_labels(labels, Vocabulary(binary, {}), keys=("file",))
    with pytest.raises(ResourceError, match="does not exist"):
        _source(tmp_path / "absent", table, labels, salt)


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


def test_of_copies_the_one_is_used_that_the_table_names(tmp_path: Path, loud: Callable[..., FolderSource]) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / "images" / name).write_text("P-1")
    found = [row.set_aside for row in loud(("2", "1", ""), ("3", "1", "")).rows()]
    assert found == [Reason.UNLABELLED, None, Reason.DUPLICATE]


def test_no_identifier_stands_in_a_row(
    tmp_path: Path, dicom: Callable[[Path], FolderSource], dicom_bytes: Encode, write_table: Write
) -> None:
    (tmp_path / "images" / "Planted^Name.dcm").write_bytes(dicom_bytes(StudyInstanceUID="1.2.3.4.5.6789"))
    rows: list[Row] = list(dicom(write_table(["patient", "label"], ["P-1", "1"])).rows())
    text = repr(rows)
    assert not any(word in text for word in ("Planted", "P-1", "6789"))


def test_the_site_says_which_images_it_wants(
    tmp_path: Path, dicom: Callable[..., FolderSource], dicom_bytes: Encode, write_table: Write
) -> None:
    headers: list[dict[str, object]] = [
        {"ViewPosition": "PA"},
        {"ViewPosition": "LL"},
        {"PresentationIntentType": "FOR PROCESSING", "ViewPosition": "PA"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"ImageType": ["DERIVED", "PRIMARY"]},
    ]
    for number, header in enumerate(headers):
        (tmp_path / "images" / str(number)).write_bytes(dicom_bytes(**header))
    labels = write_table(["patient", "label"], ["P-1", "1"])
    usual = [None, None, Reason.FOR_PROCESSING, Reason.LOCALIZER, Reason.SECONDARY, None]
    assert [row.set_aside for row in dicom(labels).rows()] == usual
    frontal = Rules(keep=("for_processing", "secondary"), views=("pa", "ap"))
    left_out = Reason.VIEW_NOT_ASKED
    asked = [None, left_out, None, Reason.LOCALIZER, left_out, left_out]
    assert [row.set_aside for row in dicom(labels, frontal).rows()] == asked
