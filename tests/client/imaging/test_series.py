"""DICOM series as volumes: the same patient, however it was scanned, and an account that adds up."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from client.imaging.account import account
from client.imaging.catalogue import Catalogue, Row
from client.imaging.clinical import ClinicalReader, Missing
from client.imaging.dicom_volume import DicomVolumes
from client.imaging.extent import Extent
from client.imaging.label_settings import LabelSettings
from client.imaging.labels import read_labels
from client.imaging.planes import Plane
from client.imaging.reasons import Reason
from client.imaging.rules import USUAL, Rules
from client.imaging.site_table import KEYS
from client.imaging.sources import Source, source_of
from client.imaging.stacks import Piece, stack_of
from client.imaging.traits import Traits
from client.imaging.vocabulary import Vocabulary
from shared.clinical import ClinicalColumn
from shared.images import ImageSpec
from shared.study import TaskSpec

Make = Callable[..., Dataset]
IMAGES = ImageSpec(slices=16, size_px=16, spacing_mm=(4, 4, 4), hu=(-1000, 1000))
TILT = np.radians(15)


def body(points: np.ndarray) -> np.ndarray:
    """Hounsfield units at (..., 3) points in mm, LPS: smooth, and different along each way of each axis."""
    x, y, z = np.moveaxis(points, -1, 0)
    return 8 * x + 4 * y + 14 * z + 200 * np.cos(x / 25) * np.cos(y / 30)


def slices(
    make: Make,
    *,
    across: Sequence[float] = (1, 0, 0),
    down: Sequence[float] = (0, 1, 0),
    step: Sequence[float] = (0, 0, 4),
    count: int = 20,
    **elements: Any,
) -> Iterator[Dataset]:
    """A CT series of 2 x 2 x 4 mm about the origin, its slices in a wild order."""
    across, down, step = (np.array(vector, dtype=float) for vector in (across, down, step))
    places = (np.arange(40) - 19.5)[:, None] * 2
    series = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": "1.2.3"} | elements
    for number in np.random.default_rng(1).permutation(count):
        centre = (number - (count - 1) / 2) * step
        points = centre + places[:, None] * down + places[None, :] * across
        yield make(
            np.rint(body(points) + 1024).astype(np.int16),
            Modality="CT",
            RescaleSlope=1,
            RescaleIntercept=-1024,
            ImagePositionPatient=[f"{value:.5f}" for value in points[0, 0]],
            ImageOrientationPatient=[*across, *down],
            PixelSpacing=[2, 2],
            **series,
        )


def data_of(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def volume_of(files: Sequence[bytes], images: ImageSpec = IMAGES) -> np.ndarray:
    """The volume that the files' frames make, in this process."""
    form = DicomVolumes(images)
    planes: list[tuple[Piece, Plane]] = []
    for number, data in enumerate(files):
        planes += [(Piece(str(number), "", frame), plane) for frame, plane in enumerate(form.facts(data).planes)]
    assert all(plane.parallel(planes[0][1]) for _, plane in planes)
    stack = stack_of(planes[0][1], [(piece, plane.position_mm) for piece, plane in planes])
    wanted = [(files[int(piece.file)], [piece.frame]) for piece in stack.pieces]
    *taken, volume = form.stacked(wanted, stack.scan, stack.shifts_mm)
    assert taken == [None] * len(stack.pieces)
    assert volume is not None
    return volume


def expected() -> np.ndarray:
    centres = (np.arange(16) - 7.5) * 4
    z, y, x = np.meshgrid(centres, centres, centres, indexing="ij")
    return np.clip((body(np.stack([x, y, z], axis=-1)) + 1000) / 2000, 0, 1)


@pytest.mark.parametrize(
    "scan",
    [
        {},
        {"step": (0, 0, -4)},
        {"across": (1, 0, 0), "down": (0, 0, -1), "step": (0, 4, 0)},  # coronal
        {"across": (0, 1, 0), "down": (0, 0, -1), "step": (4, 0, 0)},  # sagittal
        {"across": (-1, 0, 0), "down": (0, -1, 0)},  # feet first
    ],
)
def test_however_a_patient_is_scanned_the_volume_is_the_same(make_dicom: Make, scan: dict[str, Any]) -> None:
    volume = volume_of([data_of(dataset) for dataset in slices(make_dicom, **scan)])
    np.testing.assert_allclose(volume / 65535, expected(), atol=0.01)


def test_a_tilted_gantry_does_not_shear(make_dicom: Make) -> None:
    """The table moves along z, the slices lean: the volume is the patient's, turned by the tilt and not bent."""
    leaning = slices(make_dicom, down=(0, np.cos(TILT), np.sin(TILT)))
    volume = volume_of([data_of(dataset) for dataset in leaning])
    centres = (np.arange(16) - 7.5) * 4
    up, back, x = np.meshgrid(centres, centres, centres, indexing="ij")
    y, z = back * np.cos(TILT) - up * np.sin(TILT), back * np.sin(TILT) + up * np.cos(TILT)
    wanted = np.clip((body(np.stack([x, y, z], axis=-1)) + 1000) / 2000, 0, 1)
    np.testing.assert_allclose(volume / 65535, wanted, atol=0.01)


def test_the_frames_of_one_object_are_a_volume(make_dicom: Make) -> None:
    """An enhanced CT: what the frames share stands once, where each lies stands with it."""
    singles = list(slices(make_dicom))
    stored = np.stack([np.frombuffer(one.PixelData, np.int16).reshape(40, 40) for one in singles])
    whole = make_dicom(stored[0], Modality="CT", NumberOfFrames=len(singles), PixelData=stored.tobytes())
    shared, measures, orientation, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = [2, 2], [1, 0, 0, 0, 1, 0]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [rescale]
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = []
    for one in singles:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        whole.PerFrameFunctionalGroupsSequence.append(frame)
    assert len(DicomVolumes(IMAGES).facts(data_of(whole)).planes) == 20
    np.testing.assert_allclose(volume_of([data_of(whole)]) / 65535, expected(), atol=0.01)


# ------------------------------------------------------------------ a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def write(folder: Path, name: str, datasets: Iterator[Dataset]) -> None:
    for number, dataset in enumerate(datasets):
        (folder / f"{name}{number:02}").write_bytes(data_of(dataset))


def by_reason(rows: Sequence[Row]) -> dict[str, int]:
    found = account(Catalogue(tuple(rows)), task=None, split=False)
    assert found.used + sum(aside.files for aside in found.set_aside) == found.files
    return {aside.reason.value: aside.files for aside in found.set_aside} | {"used": found.used}


def test_a_volume_is_as_large_as_it_lies_in_the_patient_and_headers_that_differ_are_marked(
    folder: Path, make_dicom: Make, salt: bytes
) -> None:
    coronal = list(slices(make_dicom, across=(1, 0, 0), down=(0, 0, -1), step=(0, 4, 0), count=6, PatientAge="040Y"))
    coronal[0].PatientSex, coronal[1].PatientSex, coronal[2].PatientAge = "F", "O", "039Y"
    write(folder, "coronal", iter(coronal))
    (row,) = source_of(folder, kind="dicom", images=IMAGES, salt=salt).rows()
    assert row.extent == Extent((40, 6, 40), (2, 4, 2))
    assert row.traits == Traits("female", "several")


def test_every_file_of_every_series_is_accounted_for(folder: Path, make_dicom: Make, salt: bytes) -> None:
    write(folder, "good", slices(make_dicom, count=6))
    write(folder, "tilted", slices(make_dicom, down=(0, np.cos(TILT), np.sin(TILT)), count=5))
    write(folder, "scout", slices(make_dicom, count=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    write(folder, "single", slices(make_dicom, count=2))
    write(folder, "flat", iter([make_dicom(Modality="CT", RescaleSlope=1, RescaleIntercept=0)]))
    write(folder, "xray", iter([make_dicom()]))
    uneven, twice = list(slices(make_dicom, count=6)), list(slices(make_dicom, count=5))
    write(folder, "uneven", (one for one in uneven if one.ImagePositionPatient[2] != 2))
    write(folder, "twice", iter([*twice, again(twice[0])]))
    write(folder, "phases", (again(one, SeriesInstanceUID="1.2.4") for one in twice for _ in range(2)))
    (folder / "good99").write_bytes((folder / "good00").read_bytes())
    (folder / "text").write_text("nothing")
    source = source_of(folder, kind="dicom", images=IMAGES, salt=salt)
    rows = list(source.rows())
    assert by_reason(rows) == {
        "used": 11,
        "time_series": 10,
        "duplicate_slices": 6,
        "uneven_slices": 5,
        "few_slices": 2,
        "no_hounsfield": 1,
        "no_position": 1,
        "localizer": 1,
        "duplicate": 1,
        "not_an_image": 1,
    }
    used = [row for row in rows if row.set_aside is None]
    assert [row.about.marks for row in used if row.about] == [(), ("tilted_gantry",)]
    for volume in source.decode(used):
        assert isinstance(volume, np.ndarray)
        assert volume.shape == IMAGES.grid
    (folder / "good03").write_bytes(b"changed")
    assert [image for image in source.decode(used) if isinstance(image, Reason)] == [Reason.UNREADABLE]
    failed = Catalogue(tuple(rows)).without({0: Reason.UNREADABLE})
    assert by_reason(failed.rows)["unreadable"] == 6


def again(dataset: Dataset, **elements: Any) -> Dataset:
    """The same image, sent again under another name."""
    copy = dcmread(BytesIO(data_of(dataset)))
    for keyword, value in (elements | {"SOPInstanceUID": generate_uid()}).items():
        setattr(copy, keyword, value)
    return copy


def labelled(folder: Path, table: Path, task: TaskSpec, salt: bytes, rules: Rules = USUAL) -> Source:
    lines = read_labels(table, Vocabulary(task, {}), keys=KEYS["dicom"])
    return source_of(folder, kind="dicom", images=IMAGES, salt=salt, table=lines, rules=rules)


def test_the_table_names_any_slice(
    folder: Path, make_dicom: Make, write_table: Callable[..., Path], binary: TaskSpec, salt: bytes
) -> None:
    for name in "abc":
        write(folder, name, slices(make_dicom, count=4))
    table = write_table(["file", "label", "patient"], ("a02", "1", "p"), ("b00", "0", "q"), ("b03", "1", "q"))
    rows = list(labelled(folder, table, binary, salt).rows())
    volumes = [row for row in rows if row.set_aside is None]
    assert [(row.labels, row.file[0], len(row.files)) for row in volumes] == [((1,), "a", 4)]
    assert by_reason(rows) == {"used": 4, "label_conflict": 4, "unlabelled": 4}


@pytest.mark.parametrize("ages", [("", "50", "50"), ("50", "", "50"), ("50", "51", "50")])
def test_what_is_known_of_a_volume_is_what_all_its_lines_say(
    folder: Path, make_dicom: Make, write_table: Callable[..., Path], binary: TaskSpec, salt: bytes, ages: Sequence[str]
) -> None:
    write(folder, "a", slices(make_dicom, count=3))
    table = write_table(["file", "label", "patient", "age"], *([f"a0{n}", "1", "p", age] for n, age in enumerate(ages)))
    reader = ClinicalReader({"age": ClinicalColumn(low=0, high=120)}, LabelSettings())
    lines = read_labels(table, Vocabulary(binary, {}), keys=KEYS["dicom"], clinical=reader)
    (row,) = source_of(folder, kind="dicom", images=IMAGES, salt=salt, table=lines).rows()
    assert row.clinical == {"age": Missing.CONFLICT if "51" in ages else 50}


def test_a_real_series_is_a_volume(shared_data: Path, salt: bytes) -> None:
    folder = shared_data / "dicom" / "mr_series_24"
    images = ImageSpec(slices=16, size_px=48)
    source = source_of(folder, kind="dicom", images=images, salt=salt, rules=Rules(keep=("secondary",)))
    (row,) = [row for row in source.rows() if row.set_aside is None]
    assert row.stack is not None
    assert row.stack.scan.counts == (24, 384, 274)
    np.testing.assert_allclose(row.stack.scan.spacing_mm, (0.667, 0.667, 0.7), atol=1e-3)
    (volume,) = source.decode([row])
    assert isinstance(volume, np.ndarray)
    assert volume.shape == images.grid
    assert volume[:, 16:32, 16:32].mean() > 2 * volume[:, :4].mean()  # a head in the middle
