"""DICOM segmentations as masks of series: which of them, which segments, and where their frames lie."""

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits
from pydicom.uid import SegmentationStorage, generate_uid

from client.imaging.dicom_masks import DicomMasks
from client.imaging.dicom_planes import planes_of
from client.imaging.dicom_volume import DicomVolumes
from client.imaging.grid import Scan
from client.imaging.labels import read_labels
from client.imaging.masks import Decoded, decode
from client.imaging.planes import Plane
from client.imaging.reasons import Reason, SetAside
from client.imaging.segment_names import structures_of, unknown_labels
from client.imaging.segments import Segment, Segments
from client.imaging.site_table import KEYS
from client.imaging.sources import Source, source_of
from client.imaging.stacks import Piece, stack_of
from client.imaging.vocabulary import Vocabulary
from shared.images import ImageSpec
from shared.study import TaskSpec

Make = Callable[..., Dataset]
ORGANS = TaskSpec(kind="segmentation", mode="multiclass", classes=("liver", "spleen"))
NAMES = Vocabulary(ORGANS, {"Milz": "spleen", "Aorta": "negative"})
IMAGES = ImageSpec(slices=10, size_px=16, spacing_mm=(2, 2, 4))
ROWS, COLUMNS = 14, 10  # frames that do not end with a byte
HEIGHTS = tuple(4.0 * number for number in range(10))
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def lies(height: float, *, x: float = -10.0, turn: Sequence[float] = AXIAL) -> list[float]:
    """The first voxel of a slice, so far along the normal."""
    return list(np.array([x, -12, 0]) + height * np.cross(turn[:3], turn[3:]))


def truth() -> np.ndarray:
    """(slices, rows, columns): a liver, and a spleen that does not reach as high."""
    mask = np.zeros((10, ROWS, COLUMNS), np.uint8)
    mask[2:8, 2:7, 1:5], mask[3:5, 6:11, 6:10] = 1, 2
    return mask


def series_of(make: Make, uid: str, turn: Sequence[float] = AXIAL) -> list[bytes]:
    """A CT in which the organs shine, from the head down."""
    values = np.array([-800, 200, 600], np.int16)[truth()] + np.arange(COLUMNS, dtype=np.int16)
    described = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU"}
    found = []
    for number in reversed(range(10)):
        image = make(values[number], SeriesInstanceUID=uid, FrameOfReferenceUID="1.2.3", **described)
        image.ImagePositionPatient = lies(HEIGHTS[number], turn=turn)
        image.ImageOrientationPatient, image.PixelSpacing = list(turn), [2, 2]
        found.append(saved(image))
    return found


def saved(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def group(**sequences: Dataset) -> Dataset:
    item = Dataset()
    for keyword, inner in sequences.items():
        setattr(item, keyword, [inner])
    return item


def element(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def segmentation(
    make: Make,
    uid: str,
    *,
    labels: Sequence[str] = ("Liver", "Milz"),
    kind: str = "BINARY",
    masks: Sequence[np.ndarray] | None = None,
    x: float = -10.0,
    turn: Sequence[float] = AXIAL,
    most: int = 200,
) -> bytes:
    """One segment after the other; a slice that a segment does not reach has no frame of it."""
    masks = masks or [truth() == number for number in range(1, len(labels) + 1)]
    drawn = [(n, at) for n, mask in enumerate(masks, start=1) for at in range(10) if mask[at].any()]
    frames = np.stack([masks[n - 1][at] for n, at in drawn])
    seg = make(np.zeros((ROWS, COLUMNS), np.uint8), SOPClassUID=SegmentationStorage, Modality="SEG")
    seg.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    seg.FrameOfReferenceUID, seg.NumberOfFrames, seg.SegmentationType = "1.2.3", len(frames), kind
    seg.ReferencedSeriesSequence = [element(SeriesInstanceUID=uid)]
    seg.SegmentSequence = [element(SegmentNumber=n, SegmentLabel=label) for n, label in enumerate(labels, start=1)]
    one = element(ImageOrientationPatient=list(turn))
    seg.SharedFunctionalGroupsSequence = [
        group(PlaneOrientationSequence=one, PixelMeasuresSequence=element(PixelSpacing=[2, 2]))
    ]
    seg.PerFrameFunctionalGroupsSequence = [
        group(
            SegmentIdentificationSequence=element(ReferencedSegmentNumber=n),
            PlanePositionSequence=element(ImagePositionPatient=lies(HEIGHTS[at], x=x, turn=turn)),
        )
        for n, at in drawn
    ]
    if kind == "FRACTIONAL":
        seg.MaximumFractionalValue = most
        seg.PixelData = np.where(frames, 100, 99).astype(np.uint8).tobytes()
    else:
        seg.BitsAllocated, seg.BitsStored, seg.HighBit = 1, 1, 0
        seg.PixelData = pack_bits(frames.ravel().astype(np.uint8))
    seg["PixelData"].VR = "OB"
    return saved(seg)


def on_the_grid(
    make: Make, file: bytes, uid: str, *, spec: ImageSpec = IMAGES, turn: Sequence[float] = AXIAL
) -> tuple[np.ndarray, np.ndarray]:
    """The volume of the series and its mask, in this process."""
    images, form = series_of(make, uid, turn), DicomVolumes(spec)
    planes: list[tuple[Piece, Plane]] = [
        (Piece(str(n), ""), form.facts(data).planes[0]) for n, data in enumerate(images)
    ]
    stack = stack_of(planes[0][1], [(piece, plane.position_mm) for piece, plane in planes])
    *_, volume = form.stacked([(images[int(p.file)], [0]) for p in stack.pieces], stack.scan, stack.shifts_mm)
    facts, places = DicomMasks(spec).facts(file), {piece: plane.position_mm for piece, plane in planes}
    assert facts.series == uid
    segments = Segments(structures_of(facts.segments, NAMES), planes[0][1], tuple(places[p] for p in stack.pieces))
    (mask,) = DicomMasks(spec).placed(file, segments, stack.scan, stack.shifts_mm)
    assert volume is not None
    return volume, mask


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_frames_lie_where_the_slices_lie(make_dicom: Make, kind: str) -> None:
    volume, mask = on_the_grid(make_dicom, segmentation(make_dicom, "1.9.1", kind=kind), "1.9.1")
    assert (mask.shape, mask.dtype) == (IMAGES.grid, np.uint16)
    np.testing.assert_array_equal(mask[:, 1:15, 3:13], truth())  # 16 x 16 about the same centre
    assert (mask > 0).sum() == (truth() > 0).sum()
    darkest = [int(volume[mask == number].min()) for number in (1, 2)]
    assert volume[mask == 0].max() < darkest[0] < darkest[1]


@pytest.mark.parametrize(
    "turn",
    [(1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, 1, 0), (0, -1, 0, 1, 0, 0)],
    ids=["coronal", "sagittal", "from_above", "turned"],
)
def test_each_voxel_lies_where_the_patient_has_it(make_dicom: Make, turn: tuple[float, ...]) -> None:
    across, down = np.array(turn[:3]), np.array(turn[3:])
    normal = np.cross(across, down)
    steps = np.array([4 * normal, 2 * down, 2 * across])  # mm, along (x, y, z)
    edges = np.abs(steps).sum(axis=0)
    spec = ImageSpec(slices=20, size_px=20, spacing_mm=tuple(edges.tolist()))
    volume, mask = on_the_grid(make_dicom, segmentation(make_dicom, "1.9.1", turn=turn), "1.9.1", spec=spec, turn=turn)
    from_centre = (np.argwhere(truth()) - (np.array(truth().shape) - 1) / 2) @ steps
    x, y, z = np.rint(from_centre / edges + 9.5).astype(int).T
    wanted = np.zeros((20, 20, 20), np.uint16)
    wanted[z, y, x] = truth()[truth() > 0]
    np.testing.assert_array_equal(mask, wanted)
    assert volume[mask > 0].min() > volume[mask == 0].max()


def test_a_frame_whose_far_corner_lies_elsewhere_sets_the_mask_aside(make_dicom: Make) -> None:
    for angle, reason in ((0.005, None), (0.0095, Reason.MASK_ELSEWHERE)):  # rad; 26 mm to the last row
        turn = (1.0, 0.0, 0.0, 0.0, np.cos(angle), np.sin(angle))
        drawn = dcmread(BytesIO(segmentation(make_dicom, "1.9.1")))
        shared = drawn.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(turn)
        if reason is None:
            _, mask = on_the_grid(make_dicom, saved(drawn), "1.9.1")
            np.testing.assert_array_equal(mask[:, 1:15, 3:13], truth())
        else:
            with pytest.raises(SetAside, match=reason.value):
                on_the_grid(make_dicom, saved(drawn), "1.9.1")


@pytest.mark.parametrize("most", [0, 256])
def test_fractions_of_no_number_of_eight_bits_set_the_mask_aside(make_dicom: Make, most: int) -> None:
    file = segmentation(make_dicom, "1.9.1", labels=("Liver",), kind="FRACTIONAL", most=most)
    with pytest.raises(SetAside, match="mask_unknown"):
        on_the_grid(make_dicom, file, "1.9.1")


def test_what_is_not_looked_for_is_background_and_an_empty_mask_is_one(make_dicom: Make) -> None:
    _, mask = on_the_grid(make_dicom, segmentation(make_dicom, "1.9.1", labels=("Aorta", "Milz")), "1.9.1")
    assert set(np.unique(mask)) == {0, 2}
    _, mask = on_the_grid(make_dicom, segmentation(make_dicom, "1.9.1", labels=("Aorta",)), "1.9.1")
    assert not mask.any()


def test_frames_elsewhere_and_structures_at_one_place_set_the_mask_aside(make_dicom: Make) -> None:
    both = [truth() > 0, truth() == 2]
    spoilt = {
        Reason.MASK_ELSEWHERE: segmentation(make_dicom, "1.9.1", x=-9.0),
        Reason.MASK_UNKNOWN: segmentation(make_dicom, "1.9.1", masks=both),
    }
    for reason, file in spoilt.items():
        with pytest.raises(SetAside, match=reason.value):
            on_the_grid(make_dicom, file, "1.9.1")


def test_a_segment_is_known_by_its_name_or_by_its_number_where_the_name_only_counts() -> None:
    def found(*labels: str) -> tuple[tuple[int, int], ...]:
        return structures_of([Segment(number, label) for number, label in enumerate(labels, start=1)], NAMES)

    assert found("milz", " LIVER ") == ((1, 2), (2, 1))
    assert found("Segment_1", "2") == ((1, 1), (2, 2))
    assert found("", "aorta") == ((1, 1),)
    for strange in (("Kidney",), ("liver", "spleen", "Segment 3")):
        with pytest.raises(SetAside, match="mask_unknown"):
            found(*strange)
    renumbered = [Segment(1, "Segment 2"), Segment(2, "Segment_1")]
    with pytest.raises(SetAside, match="mask_unknown"):
        structures_of(renumbered, NAMES)
    assert unknown_labels(renumbered, NAMES) == ("Segment 2", "Segment_1")
    assert unknown_labels([Segment(1, "Kidney"), Segment(2, "Milz"), Segment(3)], NAMES) == ("Kidney",)


def test_other_objects_are_no_masks(make_dicom: Make) -> None:
    lost = segmentation(make_dicom, "1.9.1").replace(b"BINARY", b"OTHER ")
    for data in (saved(make_dicom()), lost):
        with pytest.raises(SetAside, match="other_object"):
            DicomMasks(IMAGES).facts(data)


@pytest.mark.parametrize("name", ["liver", "liver_nonbyte_aligned", "liver_expb", "liver_j2k"])
def test_a_real_segmentation_is_read(shared_data: Path, name: str) -> None:
    data = (shared_data / "dicom" / "pydicom_data" / f"{name}.dcm").read_bytes()
    dataset, facts = dcmread(BytesIO(data)), DicomMasks(IMAGES).facts(data)
    planes = planes_of(dataset, 3)
    (apart,) = {round(float(np.linalg.norm(np.subtract(a.position_mm, b.position_mm))), 3) for a, b in pairwise(planes)}
    scan = Scan((3, *planes[0].counts), (apart, *planes[0].spacing_mm))
    images = ImageSpec(slices=9, size_px=planes[0].counts[0], spacing_mm=(*planes[0].spacing_mm[::-1], apart))
    names = Vocabulary(TaskSpec(kind="segmentation", classes=(facts.segments[0].label,)), {})
    segments = Segments(structures_of(facts.segments, names), planes[0], tuple(plane.position_mm for plane in planes))
    (mask,) = DicomMasks(images).placed(data, segments, scan, ())
    assert mask.sum() == dataset.pixel_array.sum() > 10_000


# ------------------------------------------------------------------ in a folder


@pytest.fixture
def source(tmp_path: Path, make_dicom: Make, write_table: Callable[..., Path], salt: bytes) -> Source:
    """Five exams: with a segmentation, without, with two, with one that names a kidney, with one of elsewhere; and one
    of a series that is not here."""
    folder = tmp_path / "exams"
    folder.mkdir()
    uids = [generate_uid() for _ in range(6)]
    for number, uid in enumerate(uids[:5]):
        for at, data in enumerate(series_of(make_dicom, uid)):
            (folder / f"{number}-{at}.dcm").write_bytes(data)
    drawn = {
        "0": segmentation(make_dicom, uids[0]),
        "0-again": None,
        "2": segmentation(make_dicom, uids[2]),
        "2-second": segmentation(make_dicom, uids[2], kind="FRACTIONAL"),
        "3": segmentation(make_dicom, uids[3], labels=("Liver", "Kidney")),
        "4": segmentation(make_dicom, uids[4], x=30.0),
        "5": segmentation(make_dicom, uids[5]),
    }
    for name, data in drawn.items():
        (folder / f"seg-{name}").write_bytes(data or drawn["0"] or b"")
    table = write_table(["file", "patient"], *[(f"{n}-0.dcm", f"P{n}") for n in range(5)])
    lines = read_labels(table, None, keys=KEYS["dicom"])
    return source_of(folder, kind="dicom", images=IMAGES, salt=salt, table=lines, masks=NAMES)


def test_a_series_has_the_segmentation_that_names_it(source: Source) -> None:
    rows = list(source.rows())
    reasons = {(row.set_aside, row.file[0]): len(row.files) for row in rows if row.set_aside}
    assert {reason.value for reason, _ in reasons if reason} == {
        "no_mask",
        "mask_several",
        "mask_unknown",
        "other_object",
    }
    assert source.mask_files == 6  # the one of no series here is set aside as a file
    assert source.unmapped.shown(smallest_cell=1) == {"kidney": 1}
    used = [row for row in rows if row.set_aside is None]
    right, elsewhere = decode(source, used, ORGANS)
    assert isinstance(right, Decoded)
    assert right.mask is not None
    assert set(np.unique(right.mask)) == {0, 1, 2}
    assert right.pixels[right.mask > 0].min() > right.pixels[right.mask == 0].max()
    assert elsewhere is Reason.MASK_ELSEWHERE
