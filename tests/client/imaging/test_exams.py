"""Which files are one exam; every file is counted once, whatever it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.imaging.decoder import Decoder, decoding_command
from client.imaging.exams import Found, find_exams, images_of
from client.imaging.reasons import Reason
from client.imaging.rules import USUAL, Rules


def looked_at(folder: Path, kind: str, rules: Rules = USUAL) -> Found:
    with Decoder(decoding_command(kind, folder)) as decoder:
        return find_exams(folder, decoder, rules=rules)


def test_the_slices_of_a_series_are_one_exam(shared_data: Path) -> None:
    found = looked_at(shared_data / "dicom" / "mr_series_24", "dicom", Rules(keep=("secondary",)))
    (exam,) = found.exams
    assert len(exam.files) == 24
    assert set(exam.name) <= set("0123456789.")
    assert found.files == 24 + found.set_aside.total()
    assert looked_at(shared_data / "dicom" / "mr_series_24", "dicom").set_aside[Reason.SECONDARY] == 24


def test_every_file_is_counted_once(shared_data: Path) -> None:
    found = looked_at(shared_data / "dicom" / "pydicom_test_files", "dicom")
    assert found.files == sum(len(exam.files) for exam in found.exams) + found.set_aside.total()
    assert len(found.exams) > 10
    assert max(len(exam.files) for exam in found.exams) > 1
    assert {Reason.NOT_AN_IMAGE, Reason.DUPLICATE, Reason.REPORT} <= found.set_aside.keys()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "ward").mkdir()
    for name, grey in (("a.png", 10), ("ward/b.png", 90), ("ward/same.png", 90)):
        Image.fromarray(np.full((20, 30), grey, np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "note.txt").write_text("seen")
    return tmp_path


def test_a_picture_is_an_exam_of_its_own(pictures: Path) -> None:
    found = looked_at(pictures, "pictures")
    names = [exam.name for exam in found.exams]
    assert names[:1] + names[-2:] == ["a.png", "ward/b.png", "ward/same.png"]
    assert found.files == 5


def test_each_image_is_prepared_and_a_broken_file_costs_itself(pictures: Path) -> None:
    with Decoder(decoding_command("pictures", pictures)) as decoder:
        found = find_exams(pictures, decoder, rules=USUAL)
        read = {file.file: images for exam in found.exams for file, images in images_of(exam, decoder, lambda p: p[:5])}
    assert [len(images) for name, images in read.items() if not isinstance(images, Reason)] == [1, 1, 1]
    assert read["a.png"][0].shape == (5, 30)  # type: ignore[index]
    assert read.get("broken.png", Reason.UNREADABLE) in Reason
