"""NIfTI volumes: which are images, and which way up."""

import gzip
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest

from client.imaging.form import MAX_FRAMES
from client.imaging.nifti import Nifti, NiftiVolumes
from client.imaging.reasons import Reason, SetAside
from shared.images import ImageSpec

RAS = np.diag([2.0, 2.0, 5.0, 1.0])


def file_of(values: np.ndarray, affine: np.ndarray | None = RAS, *, kind: type = nibabel.Nifti1Image) -> bytes:
    return bytes(kind(values, affine).to_bytes())


def reason_of(data: bytes) -> Reason:
    with pytest.raises(SetAside) as caught:
        list(Nifti().pixels(data, range(Nifti().facts(data).frames)))
    return caught.value.reason


@pytest.fixture
def body() -> np.ndarray:
    """(x, y, z) to the right, front and head: black, with a grey back and a bright spot front right in each slice."""
    values = np.zeros((6, 8, 3), dtype=np.int16)
    values[:, :2, :] = 40
    for z in range(3):
        values[5, 7, z] = 100 + z
    return values


def test_axial_slices_stand_as_radiologists_look_at_them(body: np.ndarray) -> None:
    facts = Nifti().facts(file_of(body))
    assert (facts.frames, facts.about.syntax, facts.patient) == (3, "nifti_1", "")
    images = list(Nifti().pixels(file_of(body), range(3)))
    assert all(image.shape == (8, 6) and image.dtype == np.uint16 for image in images)
    assert all(image[0, 0] > 60000 for image in images)  # the patient's right is on the left, the front on top
    assert (images[0][-2:] > 0).all()
    assert images[0][0, 0] <= images[1][0, 0] <= images[2][0, 0]  # from the feet up, in one window


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RPI", "SLA"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gz"])
def test_the_way_that_voxels_are_stored_changes_nothing(
    body: np.ndarray, codes: str, packed: Callable[[bytes], bytes]
) -> None:
    upright = nibabel.Nifti1Image(body, RAS)
    to = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(RAS), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    turned = packed(upright.as_reoriented(to).to_bytes())
    assert np.array_equal(list(Nifti().pixels(turned, [2, 0])), list(Nifti().pixels(file_of(body), [2, 0])))


def test_time_comes_after_space_and_scaling_counts(body: np.ndarray) -> None:
    moving = np.stack([body, body * 2], axis=3)
    image = nibabel.Nifti2Image(moving, RAS)
    image.header.set_slope_inter(0.5, -7)
    facts = Nifti().facts(image.to_bytes())
    assert (facts.frames, facts.about.syntax) == (6, "nifti_2")
    early, late = Nifti().pixels(image.to_bytes(), [0, 3])
    assert early[0, 0] < late[0, 0]


def test_pixels_become_square(body: np.ndarray) -> None:
    (image,) = Nifti().pixels(file_of(body, np.diag([1.0, 4.0, 1.0, 1.0])), [0])
    assert image.shape == (32, 6)


@pytest.mark.parametrize(("unit", "of_mm"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0), ("unknown", 1.0)])
def test_a_voxel_is_as_large_as_its_unit_says(body: np.ndarray, unit: str, of_mm: float) -> None:
    affine = np.diag([2 * of_mm, 3 * of_mm, 5 * of_mm, 1.0])
    affine[:3, 3] = [of_mm, 0, 0]
    image = nibabel.Nifti1Image(body, affine)
    image.header.set_xyzt_units(unit, "sec")
    facts = Nifti().facts(image.to_bytes())
    assert facts.scan is not None and facts.lattice is not None
    assert facts.scan.spacing_mm == pytest.approx((5, 3, 2))
    assert facts.lattice.first_mm == pytest.approx((11, 21, 0))


def test_masks_maps_and_colours_are_set_aside(body: np.ndarray) -> None:
    assert reason_of(file_of(np.zeros((4, 4, 4), dtype=np.uint8))) is Reason.EMPTY_VOLUME
    assert reason_of(file_of((body > 50).astype(np.float32))) is Reason.OTHER_OBJECT
    assert reason_of(file_of(body.astype(np.complex64))) is Reason.OTHER_OBJECT
    assert reason_of(file_of(np.zeros((4, 4, 4, 1, 3), dtype=np.float32))) is Reason.OTHER_OBJECT
    colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert reason_of(file_of(colours)) is Reason.COLOUR_VOLUME
    for intent in ("label", "t test"):
        image = nibabel.Nifti1Image(body, RAS)
        image.header.set_intent(intent, (3,) if intent == "t test" else ())
        assert reason_of(image.to_bytes()) is Reason.OTHER_OBJECT


def test_a_side_is_never_guessed(body: np.ndarray) -> None:
    assert reason_of(file_of(body, None)) is Reason.SIDE_UNKNOWN


def test_what_is_damaged_or_too_large_is_set_aside(body: np.ndarray) -> None:
    sound = file_of(body)
    assert reason_of(b"") is Reason.NOT_AN_IMAGE
    assert reason_of(sound[:344] + b"ni1\0" + sound[348:]) is Reason.NOT_AN_IMAGE  # the header of a pair
    assert reason_of(gzip.compress(sound)[:-20]) is Reason.UNREADABLE
    not_finite = body.astype(np.float32)
    not_finite[0, 0, 0] = np.nan
    assert reason_of(file_of(not_finite)) is Reason.UNREADABLE
    assert reason_of(file_of(np.arange(MAX_FRAMES + 1, dtype=np.int16).reshape(1, 1, -1))) is Reason.TOO_LARGE
    with pytest.raises(OSError, match="bytes"):
        Nifti().facts(sound[:-10])


def test_a_gzip_bomb_is_not_inflated_beyond_the_limit() -> None:
    header = file_of(np.zeros((8, 8, 8), np.uint8))[:352]
    assert reason_of(gzip.compress(header) + gzip.compress(bytes(2**24), 9) * 33) is Reason.TOO_LARGE
    vast = nibabel.Nifti1Header.from_fileobj(BytesIO(header), check=False)
    vast.set_data_shape((1024, 1024, 1024))
    assert reason_of(gzip.compress(vast.binaryblock + bytes(4))) is Reason.TOO_LARGE  # no voxel was there to inflate


def test_every_real_volume_is_decoded_or_set_aside_by_reason(shared_data: Path) -> None:
    (volume,) = (shared_data / "nifti").rglob("t2.nii.gz")
    facts = Nifti().facts(volume.read_bytes())
    (image,) = Nifti().pixels(volume.read_bytes(), [facts.frames // 2])
    assert (facts.frames, image.shape) == (55, (60, 52))
    masks = [path for path in (shared_data / "nifti").rglob("*seg*.nii.gz") if reason_of(path.read_bytes())]
    assert len(masks) >= 8


# ------------------------------------------------------------------ volumes

VOLUME = ImageSpec(slices=8, size_px=16, spacing_mm=(2, 2, 5))


def scan() -> np.ndarray:
    """A body in RAS voxels: bright where the patient's right, front and head are."""
    voxels = np.full((16, 16, 8), 10, dtype=np.int16)
    voxels[8:] = 100  # right, in the axes of RAS
    voxels[:, 8:] += 30
    voxels[:, :, 4:] += 5
    voxels[:8, :8, :4] -= np.random.default_rng(0).integers(0, 9, (8, 8, 4), dtype=np.int16)
    return voxels


def volume_of(data: bytes, images: ImageSpec = VOLUME) -> np.ndarray:
    form = NiftiVolumes(images)
    assert form.facts(data).frames == 1
    (volume,) = form.pixels(data, [0])
    assert (volume.shape, volume.dtype) == (images.grid, np.uint16)
    return volume


def volume_reason(data: bytes, images: ImageSpec = VOLUME) -> Reason:
    with pytest.raises(SetAside) as caught:
        volume_of(data, images)
    return caught.value.reason


def test_a_volume_is_what_its_slices_are() -> None:
    data = file_of(scan())
    np.testing.assert_array_equal(volume_of(data), np.stack(list(Nifti().pixels(data, range(8)))))


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RPI", "SLA"])
def test_the_way_that_a_volume_is_stored_changes_nothing(codes: str) -> None:
    to = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(RAS), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    turned = nibabel.Nifti1Image(scan(), RAS).as_reoriented(to).to_bytes()
    np.testing.assert_array_equal(volume_of(turned), volume_of(file_of(scan())))


def test_another_spacing_shows_the_same_body() -> None:
    fine = scan().repeat(2, axis=0).repeat(2, axis=1)
    halves = file_of(fine, np.diag([0.5, 0.5, 1, 1]) @ RAS)
    found, wanted = volume_of(halves).astype(int), volume_of(file_of(scan())).astype(int)
    assert np.median(abs(found - wanted)) < 3000  # of 65535; edges are softer
    assert (np.sign(found[:, 4:12, 4] - found[:, 4:12, 12]) == np.sign(wanted[:, 4:12, 4] - wanted[:, 4:12, 12])).all()


def test_a_window_in_hounsfield_units() -> None:
    voxels = scan()
    voxels[:4] = -1000
    images = VOLUME.model_copy(update={"hu": (-100.0, 100.0)})
    found = volume_of(file_of(voxels), images)
    assert found.min() == 0
    np.testing.assert_allclose(found[-1, 0, 0] / 65535, 1)  # 100 + 30 + 5 and more
    np.testing.assert_allclose(found[-1, -1, 10] / 65535, (15 + 100) / 200, atol=1e-4)
    (slice_,) = Nifti((-100.0, 100.0)).pixels(file_of(voxels), [7])
    np.testing.assert_array_equal(slice_, found[-1])
    assert volume_reason(file_of(scan()), images) is Reason.NO_HOUNSFIELD
    with pytest.raises(SetAside, match="no_hounsfield"):
        Nifti((-100.0, 100.0)).facts(file_of(scan()))


def test_what_is_no_volume() -> None:
    assert volume_reason(file_of(np.stack([scan(), scan()], axis=3))) is Reason.TIME_SERIES
    assert volume_reason(file_of(scan()[:, :, :2])) is Reason.FEW_SLICES
    hollow = np.pad(np.zeros((40, 40, 8), dtype=np.int16), ((9, 9), (9, 9), (0, 0)), constant_values=7)
    hollow[0, 0, 0] = 8
    assert volume_reason(file_of(hollow)) is Reason.EMPTY_VOLUME  # nothing is left in the middle
