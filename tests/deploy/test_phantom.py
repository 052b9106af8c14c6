"""The phantom: what is drawn, what is written, and that the account of it is true."""

import csv
import hashlib
import io
import struct
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from deploy.phantom import HOSPITALS, Hospital, PhantomAccount, draw_hospital
from deploy.phantom.acquisition import Exposure, expose
from deploy.phantom.anatomy import Tissue, tissue_of
from deploy.phantom.archive import FLAWS
from deploy.phantom.bodies import Grid, Poses, draw_bodies, draw_poses, grid_of
from deploy.phantom.books import FIRST_DAY, draw_books
from deploy.phantom.dicom import SYNTHETIC, Exam, draw_uid, encode
from deploy.phantom.findings import add_devices, add_distractors, add_opacities
from deploy.phantom.strokes import curve, splat

ALDER, BIRCH, CEDAR, DOGWOOD = HOSPITALS
PATIENTS = 24

# PS3.3: attributes of type 1 (present, with a value) and type 2 (present, may be empty) by module.
TYPE_1 = {
    "both": (
        *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelData"),
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    ),
    "CR": (),
    "DX": (
        *("PresentationIntentType", "ImageLaterality", "ImageType", "PixelIntensityRelationship"),
        *("PixelIntensityRelationshipSign", "PresentationLUTShape", "LossyImageCompression", "PatientOrientation"),
        *("BurnedInAnnotation", "ImagerPixelSpacing", "CollimatorShape"),
    ),
}
TYPE_2 = {
    "both": (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
        *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "InstanceNumber", "Manufacturer"),
    ),
    "CR": ("BodyPartExamined", "ViewPosition"),
    "DX": ("AnatomicRegionSequence", "AcquisitionContextSequence", "DetectorType"),
}


class Drawn:
    """One archive on disk with its account and label rows."""

    def __init__(self, hospital: Hospital, folder: Path) -> None:
        self.hospital = hospital
        self.folder = folder
        self.account = draw_hospital(hospital, folder, seed=7, patients=PATIENTS)
        self.rows = _rows(folder)
        self.usable = {row["file"]: data for row in self.rows if row["opacity"] and (data := self._read(row["file"]))}

    def _read(self, file: str) -> Dataset | None:
        try:
            dataset = pydicom.dcmread(self.folder / file)
        except (FileNotFoundError, InvalidDicomError):
            return None
        whole = len(dataset.PixelData) == 2 * dataset.Rows * dataset.Columns
        return dataset if whole else None


@pytest.fixture(scope="module", params=HOSPITALS, ids=lambda hospital: hospital.name)
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(request.param, tmp_path_factory.mktemp(request.param.name))


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _chests(hospital: Hospital, n: int, *, seed: int = 0) -> tuple[Tissue, Grid]:
    rng = np.random.default_rng(seed)
    bodies = draw_bodies(rng, female=np.arange(n) % 2 == 0)
    poses = draw_poses(rng, n, view=hospital.view)
    grid = grid_of(poses, rows=hospital.rows, columns=hospital.columns)
    return tissue_of(bodies, poses, grid, rng), grid


def _straight(n: int) -> Poses:
    zero = np.zeros((n, 1, 1), np.float32)
    return Poses(tilt=zero, zoom=zero + 1, shift_x=zero, shift_y=zero, inspiration=zero)


def _at(picture: np.ndarray, grid: Grid, x: float, y: float) -> np.ndarray:
    """The value of each picture at the body point (x, y)."""
    column, row = grid.locate(np.full((len(picture), 1), x), np.full((len(picture), 1), y))
    at = np.rint(row[:, 0]).astype(int), np.rint(column[:, 0]).astype(int)
    return picture[np.arange(len(picture)), at[0], at[1]]


# The hospitals


def test_hospitals_are_four_and_differ():
    assert len({hospital.name for hospital in HOSPITALS}) == 4
    assert {hospital.modality for hospital in HOSPITALS} == {"CR", "DX"}
    assert {hospital.photometric for hospital in HOSPITALS} == {"MONOCHROME1", "MONOCHROME2"}
    assert {hospital.bits for hospital in HOSPITALS} == {10, 12, 14, 16}
    for trait in ("manufacturer", "institution", "patients", "prevalence", "quanta", "blur_px", "collimation", "heel"):
        assert len({getattr(hospital, trait) for hospital in HOSPITALS}) == 4, trait


def test_dx_refuses_a_rescale():
    with pytest.raises(ValueError, match="slope 1"):
        replace(ALDER, rescale=(0.5, 0.0))


# The archive


def test_account_agrees_with_the_folder(drawn: Drawn):
    account = drawn.account
    labels = {row["file"]: row for row in drawn.rows}
    assert account.files == len(list((drawn.folder / "images").iterdir()))
    assert account.exams == len(drawn.usable)
    assert account.positives == sum(labels[file]["opacity"] == "1" for file in drawn.usable)
    assert account.patients == len({labels[file]["patient"] for file in drawn.usable})


def test_every_kind_of_flaw_is_there(drawn: Drawn):
    on_disk = {f"images/{path.name}" for path in (drawn.folder / "images").iterdir()}
    listed = {row["file"] for row in drawn.rows}
    damaged = {row["file"] for row in drawn.rows if row["opacity"]} & on_disk - drawn.usable.keys()
    text = {file for file in damaged if b"DICM" not in (drawn.folder / file).read_bytes()[:132]}
    found = {
        "truncated": len(damaged - text),
        "not_dicom": len(text),
        "missing": len(listed - on_disk),
        "unlabelled": sum(row["opacity"] == "" for row in drawn.rows),
        "unlisted": len(on_disk - listed),
    }
    assert found == drawn.account.flaws
    assert tuple(found) == FLAWS and min(found.values()) >= 1


def test_labels_have_the_columns_of_a_label_table(drawn: Drawn):
    assert list(drawn.rows[0]) == ["file", "patient", "accession", "opacity"]
    assert len({row["accession"] for row in drawn.rows}) == len(drawn.rows)
    assert {row["opacity"] for row in drawn.rows} == {"0", "1", ""}


def test_labels_agree_with_the_headers(drawn: Drawn):
    for row in drawn.rows:
        if dataset := drawn.usable.get(row["file"]):
            assert (dataset.PatientID, dataset.AccessionNumber) == (row["patient"], row["accession"])


def test_same_seed_gives_the_same_bytes(tmp_path: Path):
    first = draw_hospital(CEDAR, tmp_path / "first", seed=3, patients=12)
    again = draw_hospital(CEDAR, tmp_path / "again", seed=3, patients=12)
    other = draw_hospital(CEDAR, tmp_path / "other", seed=4, patients=12)
    assert first == again
    assert _content(tmp_path / "first") == _content(tmp_path / "again")
    assert not set(_content(tmp_path / "first").values()) & set(_content(tmp_path / "other").values()) - _text_files(
        tmp_path / "other"
    )
    assert isinstance(other, PhantomAccount)


def _text_files(folder: Path) -> set[str]:
    images = (path.read_bytes() for path in (folder / "images").iterdir())
    return {hashlib.sha256(data).hexdigest() for data in images if data[128:132] != b"DICM"}


def test_hospitals_of_one_seed_share_nothing(tmp_path: Path):
    draw_hospital(BIRCH, tmp_path / "birch", seed=3, patients=12)
    draw_hospital(DOGWOOD, tmp_path / "dogwood", seed=3, patients=12)
    birch, dogwood = _rows(tmp_path / "birch"), _rows(tmp_path / "dogwood")
    for column in ("patient", "accession"):
        assert not {row[column] for row in birch} & {row[column] for row in dogwood}


def test_too_few_patients_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 12"):
        draw_hospital(ALDER, tmp_path, seed=0, patients=11)
    assert not list(tmp_path.iterdir())


# The files


def test_required_attributes_are_present(drawn: Drawn):
    kinds = ("both", drawn.hospital.modality)
    for dataset in drawn.usable.values():
        for name in (name for kind in kinds for name in TYPE_1[kind]):
            assert dataset[name].value not in (None, ""), name
        for name in (name for kind in kinds for name in TYPE_2[kind]):
            assert name in dataset, name


def test_attributes_describe_the_hospital(drawn: Drawn):
    hospital = drawn.hospital
    storage = {"CR": ComputedRadiographyImageStorage, "DX": DigitalXRayImageStorageForPresentation}
    syntax = ImplicitVRLittleEndian if hospital.implicit else ExplicitVRLittleEndian
    for dataset in drawn.usable.values():
        assert dataset.SOPClassUID == storage[hospital.modality] == dataset.file_meta.MediaStorageSOPClassUID
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert (dataset.Rows, dataset.Columns) == (hospital.rows, hospital.columns)
        assert (dataset.BitsStored, dataset.HighBit, dataset.BitsAllocated) == (hospital.bits, hospital.bits - 1, 16)
        assert dataset.PhotometricInterpretation == hospital.photometric
        assert (dataset.Manufacturer, dataset.ViewPosition) == (hospital.manufacturer, hospital.view)
        assert list(dataset.ImagerPixelSpacing) == [hospital.spacing_mm] * 2
        assert ("PixelSpacing" in dataset) == (hospital.modality == "CR")


def test_values_are_legal_for_their_representation(drawn: Drawn):
    for dataset in drawn.usable.values():
        for element in dataset:
            if isinstance(element.value, str):
                pydicom.valuerep.validate_value(element.VR, element.value, pydicom.config.RAISE)


def test_every_file_says_that_it_is_synthetic(drawn: Drawn):
    for dataset in drawn.usable.values():
        assert dataset.StudyDescription == dataset.ImageComments == SYNTHETIC
        assert str(dataset.PatientName).startswith("SYNTHETIC")


def test_uids_are_valid_and_unique(drawn: Drawn):
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    uids = [dataset[name].value for dataset in drawn.usable.values() for name in names]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid and uid.startswith("2.25.") for uid in uids)


def test_age_follows_from_the_dates(drawn: Drawn):
    for dataset in drawn.usable.values():
        born, day = date.fromisoformat(dataset.PatientBirthDate), date.fromisoformat(dataset.StudyDate)
        assert abs((day - born).days / 365.25 - int(dataset.PatientAge[:3])) < 1.01
        assert 18 <= int(dataset.PatientAge[:3]) <= 99


def test_pixels_stay_within_their_bits_and_fill_them(drawn: Drawn):
    for dataset in drawn.usable.values():
        pixels = dataset.pixel_array
        assert pixels.max() < 2**dataset.BitsStored
        assert np.ptp(pixels) > 2**dataset.BitsStored / 4


def test_window_spans_the_picture_in_rescaled_units(drawn: Drawn):
    for dataset in drawn.usable.values():
        values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        centre, width = (
            np.atleast_1d(dataset[name].value).astype(float)[0] for name in ("WindowCenter", "WindowWidth")
        )
        shown = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
        assert 0.2 < shown.mean() < 0.9
        assert shown.std() > 0.1


def test_lungs_are_shown_darker_than_the_abdomen(drawn: Drawn):
    top = 2**drawn.hospital.bits - 1
    for dataset in drawn.usable.values():
        pixels = dataset.pixel_array.astype(float)
        bright = top - pixels if dataset.PhotometricInterpretation == "MONOCHROME1" else pixels
        rows, columns = bright.shape
        middle, low = bright[rows * 3 // 8 : rows // 2], bright[int(rows * 0.76) : int(rows * 0.84)]
        beside = np.r_[
            middle[:, columns // 4 : columns // 3].ravel(), middle[:, columns * 2 // 3 : columns * 3 // 4].ravel()
        ]
        assert np.percentile(beside, 25) < np.median(low[:, columns // 3 : columns * 2 // 3])


def test_dx_states_the_sense_of_its_values(drawn: Drawn):
    if drawn.hospital.modality == "CR":
        assert all("PresentationLUTShape" not in dataset for dataset in drawn.usable.values())
        return
    bright = drawn.hospital.photometric == "MONOCHROME2"
    for dataset in drawn.usable.values():
        assert dataset.PresentationLUTShape == ("IDENTITY" if bright else "INVERSE")
        assert dataset.PixelIntensityRelationshipSign == (-1 if bright else 1)
        assert (dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType) == (1, 0, "US")


def test_collimator_lies_within_the_picture(drawn: Drawn):
    for dataset in drawn.usable.values():
        if drawn.hospital.modality == "DX":
            assert 1 <= dataset.CollimatorLeftVerticalEdge < dataset.CollimatorRightVerticalEdge <= dataset.Columns
            assert 1 <= dataset.CollimatorUpperHorizontalEdge < dataset.CollimatorLowerHorizontalEdge <= dataset.Rows
        assert ("ShutterShape" in dataset) == drawn.hospital.shutter


def test_encode_inverts_monochrome1_exactly():
    stored = np.arange(BIRCH.rows * BIRCH.columns, dtype=np.uint16).reshape(BIRCH.rows, BIRCH.columns) % 1024
    field, window = np.array([0, BIRCH.rows, 0, BIRCH.columns]), np.array([100.0, 900.0])
    data = encode(_exam(), BIRCH, stored, field=field, window=window)
    dataset = pydicom.dcmread(io.BytesIO(data))
    assert np.array_equal(1023 - dataset.pixel_array, stored)
    slope, intercept = BIRCH.rescale
    low = float(dataset.WindowCenter) - 0.5 - (float(dataset.WindowWidth) - 1) / 2
    assert low == pytest.approx((1023 - 900) * slope + intercept, abs=0.1)
    assert float(dataset.WindowWidth) - 1 == pytest.approx(800 * slope, abs=0.1)


def test_encode_names_two_windows_where_the_vendor_does():
    stored = np.zeros((ALDER.rows, ALDER.columns), np.uint16)
    field, window = np.array([0, ALDER.rows, 0, ALDER.columns]), np.array([10.0, 9000.0])
    dataset = pydicom.dcmread(io.BytesIO(encode(_exam(), ALDER, stored, field=field, window=window)))
    assert len(dataset.WindowCenter) == len(dataset.WindowWidth) == len(dataset.WindowCenterWidthExplanation) == 2


def test_files_have_the_part_10_preamble():
    data = encode(
        _exam(),
        DOGWOOD,
        np.zeros((DOGWOOD.rows, DOGWOOD.columns), np.uint16),
        field=np.array([0, 1, 0, 1]),
        window=np.array([0.0, 1.0]),
    )
    assert data[:132] == bytes(128) + b"DICM"
    assert struct.unpack("<HH", data[132:136]) == (0x0002, 0x0000)


def _exam() -> Exam:
    rng = np.random.default_rng(0)
    return Exam(
        patient="XX-00001",
        birth=date(1960, 5, 2),
        sex="F",
        accession="XXA000001",
        day=date(2020, 5, 1),
        number=1,
        study_uid=draw_uid(rng),
        series_uid=draw_uid(rng),
        instance_uid=draw_uid(rng),
    )


def test_age_counts_full_years():
    assert _exam().age == 59
    assert replace(_exam(), day=date(2020, 5, 2)).age == 60


# The books


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.name)
def test_books_keep_prevalence_and_follow_up(hospital: Hospital):
    books = draw_books(hospital, np.random.default_rng(0), patients=600)
    visits = Counter(books.person.tolist())
    assert books.opacity.mean() == pytest.approx(hospital.prevalence, abs=0.05)
    assert set(visits.values()) == {1, 2}
    assert Counter(visits.values())[2] / 600 == pytest.approx(hospital.follow_up, abs=0.05)
    assert books.device[books.opacity].mean() == pytest.approx(hospital.devices_ill, abs=0.1)
    assert books.device[~books.opacity].mean() == pytest.approx(hospital.devices_healthy, abs=0.1)


def test_books_run_by_number_and_one_patient_has_one_birthday():
    books = draw_books(CEDAR, np.random.default_rng(1), patients=100)
    assert [exam.number for exam in books.exams] == list(range(1, len(books.exams) + 1))
    assert all(exam.day > FIRST_DAY for exam in books.exams)
    born = {(exam.patient, exam.birth, exam.sex) for exam in books.exams}
    assert len(born) == 100
    assert all(int(exam.patient[3:]) - 1 == person for exam, person in zip(books.exams, books.person, strict=True))


# The pictures


def test_grid_locates_what_it_maps():
    poses = draw_poses(np.random.default_rng(2), 5, view="AP")
    grid = grid_of(poses, rows=96, columns=80)
    column, row = grid.locate(grid.x[:, 40, 20:21], grid.y[:, 40, 20:21])
    assert np.allclose(column, 20, atol=1e-3) and np.allclose(row, 40, atol=1e-3)


def test_bodies_are_taken_by_row():
    bodies = draw_bodies(np.random.default_rng(0), female=np.array([True, False, True]))
    taken = bodies.take(np.array([2, 2, 0]))
    assert len(taken) == 3
    assert np.array_equal(taken.heart_x[0], bodies.heart_x[2]) and np.array_equal(taken.knob[2], bodies.knob[0])


def test_only_women_have_breasts():
    bodies = draw_bodies(np.random.default_rng(0), female=np.arange(40) % 2 == 0)
    assert (bodies.breast_cm[::2] > 0).all() and (bodies.breast_cm[1::2] == 0).all()


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.name)
def test_tissue_is_plausible(hospital: Hospital):
    tissue, grid = _chests(hospital, 8)
    for part in (tissue.lung, tissue.soft, tissue.bone, tissue.metal):
        assert part.shape == (8, hospital.rows, hospital.columns) and part.dtype == np.float32
        assert np.isfinite(part).all() and part.min() >= 0
    assert (_at(tissue.lung, grid, -0.42, 0.0) > 6).all()  # cm of air in the middle of the right lung
    assert (_at(tissue.lung, grid, 0.0, 0.1) < 2).all()  # mediastinum
    assert (_at(tissue.soft, grid, 0.15, 0.3) > 12).all()  # heart before the spine
    assert 10 < (tissue.lung + tissue.soft).max() < 35
    assert tissue.metal.max() == 0


def test_heart_lies_on_the_left():
    tissue, grid = _chests(ALDER, 12)
    left, right = _at(tissue.lung, grid, 0.38, 0.28), _at(tissue.lung, grid, -0.38, 0.28)
    assert (left < right).mean() > 0.9


def test_opacities_fill_lung_of_the_ill_only():
    tissue, grid = _chests(ALDER, 10)
    lung, soft = tissue.lung.copy(), tissue.soft.copy()
    ill = np.arange(10) % 2 == 0
    add_opacities(tissue, grid, np.random.default_rng(5), ill)
    lost = lung - tissue.lung
    assert (lost[~ill] == 0).all() and (tissue.soft[~ill] == soft[~ill]).all()
    assert (lost[ill].max(axis=(1, 2)) > 1).all()
    assert tissue.lung.min() >= -1e-5
    assert np.allclose(tissue.soft - soft, 0.74 * lost, atol=1e-4)


def test_opacities_vary_in_size_and_contrast():
    tissue, grid = _chests(BIRCH, 60)
    lung = tissue.lung.copy()
    add_opacities(tissue, grid, np.random.default_rng(6), np.ones(60, bool))
    lost = lung - tissue.lung
    area, depth = (lost > 0.5).mean(axis=(1, 2)), lost.max(axis=(1, 2))
    assert np.percentile(area, 90) > 3 * np.percentile(area, 10)
    assert np.percentile(depth, 90) > 1.5 * np.percentile(depth, 10)


def test_devices_are_metal_on_the_chosen_only():
    tissue, grid = _chests(CEDAR, 24)
    worn = np.arange(24) % 3 == 0
    add_devices(tissue, grid, np.random.default_rng(8), worn)
    assert (tissue.metal[~worn] == 0).all()
    assert (tissue.metal[worn].max(axis=(1, 2)) > 0.02).all()


def test_no_devices_is_no_change():
    tissue, grid = _chests(CEDAR, 2)
    add_devices(tissue, grid, np.random.default_rng(8), np.zeros(2, bool))
    assert tissue.metal.max() == 0


def test_distractors_leave_the_lung_alone():
    tissue, grid = _chests(ALDER, 40)
    lung, soft, bone = tissue.lung.copy(), tissue.soft.copy(), tissue.bone.copy()
    add_distractors(tissue, grid, np.random.default_rng(9))
    assert np.array_equal(tissue.lung, lung)
    assert (tissue.soft > soft).any() and (tissue.bone > bone).any()


def test_splat_keeps_the_sum_and_drops_what_lies_outside():
    grid = grid_of(_straight(2), rows=40, columns=40)
    x, y = np.array([[0.1, 0.2, 9.0], [0.0, -9.0, 0.3]]), np.zeros((2, 3))
    total = splat(grid, x, y, np.ones((2, 3))).sum(axis=(1, 2))
    assert total == pytest.approx([2.0, 2.0], abs=1e-5)


def test_curve_covers_its_line_once():
    grid = grid_of(_straight(1), rows=80, columns=80)
    drawn = curve(grid, np.array([[-0.5, 0.5]]), np.array([[0.0, 0.0]]), radius=0.05)
    inside = _at(drawn, grid, 0.1, 0.0)
    assert inside[0] == pytest.approx(1.0, abs=0.6)
    assert drawn[0, :20].max() == 0


# The machine


def _taken(hospital: Hospital, *, n: int = 6, seed: int = 0) -> Exposure:
    tissue, _ = _chests(hospital, n, seed=seed)
    return expose(tissue, hospital, np.random.default_rng(11))


def test_denser_tissue_is_brighter():
    tissue, grid = _chests(ALDER, 4)
    thick = Tissue(tissue.lung.copy(), tissue.soft.copy(), tissue.bone.copy(), tissue.metal.copy())
    patch = (np.abs(grid.x + 0.42) < 0.1) & (np.abs(grid.y) < 0.1)
    thick.soft[patch] += 5
    plain, denser = (expose(each, ALDER, np.random.default_rng(1)).stored.astype(float) for each in (tissue, thick))
    assert (denser[patch].mean() - plain[patch].mean()) / 2**ALDER.bits > 0.1


def test_fewer_quanta_are_noisier():
    tissue, _ = _chests(DOGWOOD, 4)
    quiet, loud, silent = (
        expose(tissue, replace(DOGWOOD, quanta=quanta), np.random.default_rng(1)).stored.astype(float)
        for quanta in (1e5, 1e3, 1e12)
    )
    assert np.abs(loud - silent).mean() > 3 * np.abs(quiet - silent).mean()


def test_blur_softens():
    tissue, _ = _chests(ALDER, 4)
    sharp, soft = (
        expose(tissue, replace(ALDER, blur_px=blur, quanta=1e12), np.random.default_rng(1)).stored.astype(float)
        for blur in (0.3, 2.0)
    )
    assert np.abs(np.diff(soft, axis=2)).mean() < 0.9 * np.abs(np.diff(sharp, axis=2)).mean()


def test_scatter_lowers_contrast():
    tissue, grid = _chests(BIRCH, 6)
    clear, hazy = (
        expose(tissue, replace(BIRCH, scatter=scatter), np.random.default_rng(1)).stored.astype(float)
        for scatter in (0.0, 2.0)
    )

    def contrast(stored: np.ndarray) -> float:
        return float((_at(stored, grid, 0.1, 0.3) - _at(stored, grid, -0.45, 0.0)).mean())

    assert contrast(hazy) < 0.9 * contrast(clear)


def test_shutter_blackens_the_border_and_film_leaves_it_white():
    wide = {"collimation": 0.16, "gain": 0.0}
    black, white = _taken(replace(CEDAR, **wide)), _taken(replace(CEDAR, shutter=False, **wide))
    top = 2**CEDAR.bits - 1
    edges = [taken.stored[:, 0].astype(float).mean() / top for taken in (black, white)]
    assert edges[0] < 0.1 and edges[1] > 0.8


def test_field_and_window_are_in_range():
    for hospital in HOSPITALS:
        taken = _taken(hospital)
        assert (taken.field[:, 0] < taken.field[:, 1]).all() and (taken.field[:, 2] < taken.field[:, 3]).all()
        assert (taken.window[:, 0] < taken.window[:, 1]).all()
        assert taken.window.min() >= 0 and taken.window.max() <= 2**hospital.bits - 1


def test_pictures_of_two_hospitals_differ_in_look():
    tissue_level = [np.median(_taken(hospital).stored / (2**hospital.bits - 1)) for hospital in HOSPITALS]
    assert np.ptp(tissue_level) > 0.05
