"""A study of masks through the whole engine that asks for subgroups: from DICOM headers to the model's card."""

import csv
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from live_federation import answer
from memory_ward import MemoryWard
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from client.imaging.segmentation_object import SegmentationWords, SegmentedFrame, segmentation_object, source_of
from client.imaging.settings import DataSettings
from shared.ledger import read_entries
from shared.model_card import ModelCard

pytestmark = [pytest.mark.usefixtures("flower_process"), pytest.mark.slow]

STUDY = """\
[study]
name = "cysts"
[task]
kind = "segmentation"
classes = ["cyst"]
subgroups = ["sex", "age", "vendor"]
[images]
size_px = 16
[model]
name = "segresnet"
norm = "instance"
[training]
optimizer = "adam"
learning_rate = 0.01
batch_size = 8
epochs_per_round = 3
[rounds]
count = 1
quorum = 2
"""
SPLITS = ("train",) * 8 + ("validation",) * 4 + ("test",) * 8
WORDS = SegmentationWords("drawn", ("cyst",), "0" * 64, "cysts", "1", datetime(2026, 1, 1, tzinfo=UTC))


def ultrasound(number: int, values: np.ndarray) -> bytes:
    """An image of a woman or, of an odd number, of a man of 70."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = UltrasoundImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.Modality, image.Manufacturer = f"P-{number}", "US", "Esaote"
    image.PatientSex, image.PatientAge = ("M", "070Y") if number % 2 else ("F", "030Y")
    image.Rows, image.Columns = values.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelData = values.tobytes()
    image["PixelData"].VR = "OB"
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write_site(folder: Path, *, first: int) -> DataSettings:
    """Bright cysts in dark noise, and a DICOM SEG of each."""
    (folder / "images").mkdir(parents=True)
    rng, lines = np.random.default_rng(first), []
    for number, split in enumerate(SPLITS, start=first):
        mask = np.zeros((16, 16), np.uint8)
        top, left = rng.integers(1, 8, 2)
        mask[top : top + 6, left : left + 6] = 1
        file = ultrasound(number, (180 * mask + rng.integers(0, 50, mask.shape)).astype(np.uint8))
        (folder / "images" / f"{number}.dcm").write_bytes(file)
        frame = SegmentedFrame(source_of(file), 0, mask)
        (folder / "images" / f"{number}.seg.dcm").write_bytes(segmentation_object([frame], WORDS))
        lines.append([f"{number}.dcm", split])
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["file", "split"], *lines])
    return DataSettings(kind="dicom", folder=folder / "images", labels=folder / "labels.csv")


def test_the_card_has_the_dice_of_each_sex_age_and_maker_as_the_sites_scored_it(tmp_path: Path) -> None:
    ward = MemoryWard(
        tmp_path / "ward",
        {"east": write_site(tmp_path / "east", first=0), "west": write_site(tmp_path / "west", first=100)},
    )
    ward.run(STUDY)
    answer("study", "export", "cysts", "--out", tmp_path / "package", "-f", ward.federation, "--smallest-cell", 1)
    card = ModelCard.model_validate_json((tmp_path / "package" / "model-card.json").read_bytes())
    told = {(one.trait, one.value): one for one in card.subgroups}
    assert {key: one.patients for key, one in told.items()} == {
        ("sex", "female"): 8,
        ("sex", "male"): 8,
        ("age", "18-39"): 8,
        ("age", "65-79"): 8,
        ("vendor", "esaote"): 16,
    }
    everybody, whole = told["vendor", "esaote"].dice, card.performance.figures["dice"]
    assert everybody is not None and everybody.value == pytest.approx(whole.value)
    assert (everybody.low, everybody.high) == pytest.approx((whole.low, whole.high))
    assert [(at.site, at.patients, at.auroc) for at in told["sex", "female"].by_site] == [
        ("east", 4, None),
        ("west", 4, None),
    ]
    page = (tmp_path / "package" / "model-card.html").read_text()
    assert "Dice on test patients of the sites that tell" in page
    assert "By sex, age, vendor in the card." in page
    released = [e.data for e in read_entries(ward.sites["east"] / "ledger.jsonl") if e.type == "release"]
    told_of = [name for entry in released for name in entry["tells"] if name.startswith("sub")]
    assert told_of == ["subgroups.age", "subgroups.sex", "subgroups.vendor"]
    hidden = tmp_path / "hidden"
    answer("study", "export", "cysts", "--out", hidden, "-f", ward.federation)
    covered = ModelCard.model_validate_json((hidden / "model-card.json").read_bytes())
    assert {(one.patients, one.dice and one.dice.value) for one in covered.subgroups} == {(None, None)}
