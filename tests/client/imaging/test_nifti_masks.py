"""NIfTI masks beside NIfTI images: on the study's grid with them, and why one is not used."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from client.imaging.cache import fill
from client.imaging.lattice import Lattice, misplaced
from client.imaging.nifti import Nifti, NiftiVolumes
from client.imaging.nifti_masks import NiftiMasks
from client.imaging.reasons import Reason
from client.imaging.settings import DataSettings
from client.imaging.sources import Source, open_source
from client.imaging.survey import survey
from shared.images import ImageSpec
from shared.study import TaskSpec

Write = Callable[..., Path]
ORGANS = TaskSpec(kind="segmentation", mode="multiclass", classes=("liver", "spleen"))
VOLUMES = ImageSpec(slices=16, size_px=32, spacing_mm=(2, 2, 4))
WHERE = DataSettings(
    kind="nifti", folder=Path("scans"), labels=Path("labels.csv"), test_fraction=0, validation_fraction=0
)
EDGES_MM = [(2.0, 2.0, 4.0), (1.0, 1.5, 4.0), (2.5, 2.0, 3.0), (2.0, 2.0, 2.0)]
CODES = ["LAS", "PSR", "RPI", "SLA"]


def drawn(number: int) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """A CT of 64 mm with a liver on the patient's right and a spleen, and where they are; each stored another way."""
    edges = np.array(EDGES_MM[number % 4])
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = [-31.0, 40.0, 700.0]
    counts = np.rint(64 / edges).astype(int)
    x, y, z = np.meshgrid(
        *[(np.arange(count) + 0.5) * edge for count, edge in zip(counts, edges, strict=True)], indexing="ij"
    )
    mask = np.zeros(counts, np.uint8)
    mask[(abs(x - 44) < 12) & (abs(y - 30) < 14) & (abs(z - 40) < 16)] = 1
    mask[(abs(x - 16) < 8) & (abs(y - 30) < 10) & (abs(z - 24) < 12)] = 2
    values = np.array([-900, 200, 500], np.int16)[mask] + np.random.default_rng(number).integers(
        0, 90, counts, np.int16
    )
    to = nibabel.orientations.axcodes2ornt(tuple(CODES[number % 4]))
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), to)
    scan, truth = (nibabel.Nifti1Image(part, affine).as_reoriented(turn) for part in (values, mask))
    return scan, truth


def parts(number: int, images: ImageSpec = VOLUMES, frames: range = range(1)) -> tuple[Any, Any]:
    """What is decoded of a scan, and of its mask."""
    scan, truth = (part.to_bytes() for part in drawn(number))
    form = Nifti(images.hu) if images.slices is None else NiftiVolumes(images)
    lattices = form.facts(scan).lattice, NiftiMasks(images).facts(truth).lattice
    assert lattices[0] == lattices[1]
    return np.array(list(form.pixels(scan, frames))), np.array(list(NiftiMasks(images).pixels(truth, frames)))


def overlap(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("images", [VOLUMES, VOLUMES.model_copy(update={"spacing_mm": None, "hu": (-1000, 600)})])
@pytest.mark.parametrize("number", range(4))
def test_however_a_scan_is_stored_its_mask_lies_where_the_organs_are(number: int, images: ImageSpec) -> None:
    (image,), (mask,) = parts(number, images)
    assert (image.shape, mask.shape, mask.dtype) == (images.grid, images.grid, np.uint16)
    assert overlap(image > image.max() / 2, mask > 0) > 0.9
    assert overlap(image > image.max() * 0.85, mask == 2) > 0.8
    at = np.argwhere(mask == 1).mean(axis=0) - np.argwhere(mask == 2).mean(axis=0)
    assert at[0] > 1  # the liver is higher
    assert at[2] < -8  # and towards the first column


def test_the_slices_of_a_scan_have_those_of_its_mask() -> None:
    images, masks = parts(1, ImageSpec(size_px=32), range(4, 16))
    assert images.shape == masks.shape == (12, 64, 64)  # square pixels of the finer edge
    assert overlap(images > 35000, masks > 0) > 0.95
    assert set(np.unique(masks)) == {0, 1, 2}


@pytest.fixture
def folder(tmp_path: Path, write_table: Write) -> Path:
    """Eight patients; their masks lie in a folder of their own."""
    (tmp_path / "scans" / "masks").mkdir(parents=True)
    for number in range(8):
        scan, truth = drawn(number)
        nibabel.save(scan, tmp_path / "scans" / f"{number}.nii")
        nibabel.save(truth, tmp_path / "scans" / "masks" / f"{number}.nii")
    write_table(["file", "patient", "mask"], *[(f"{n}.nii", f"P{n}", f"masks/{n}.nii") for n in range(8)])
    return tmp_path / "scans"


def source(base: Path, task: TaskSpec | None = ORGANS) -> Source:
    return open_source(WHERE, task=task, salt=bytes(32), base=base, images=VOLUMES)


def test_masks_stand_beside_their_images_in_the_cache(tmp_path: Path, folder: Path) -> None:
    data = fill(source(tmp_path), WHERE, task=ORGANS, images=VOLUMES, cache=tmp_path / "cache")
    assert (data.counts.found, data.counts.used) == (8, 8)  # masks are no images
    assert data.train.masks is not None
    assert data.train.masks.shape == (8, *VOLUMES.grid)
    assert data.train.labels.tolist() == [[1, 1]] * 8
    assert overlap(data.train.images[:, 0] > 35000, data.train.masks > 0) > 0.9


def spoil(folder: Path, number: int, change: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    path = folder / "masks" / f"{number}.nii"
    mask = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(*change(np.asarray(mask.dataobj).copy(), mask.affine)), path)


def moved(affine: Any, millimetres: float) -> Any:
    return affine + np.pad(np.full((3, 1), millimetres), ((0, 1), (3, 0)))


def test_an_account_says_why_a_mask_is_not_used(tmp_path: Path, folder: Path) -> None:
    spoil(folder, 0, lambda values, affine: (values[1:], affine))
    spoil(folder, 1, lambda values, affine: (values, moved(affine, 3)))
    spoil(folder, 2, lambda values, affine: (values * np.float32(0.4), affine))
    spoil(folder, 3, lambda values, affine: (values.astype(np.int16) - 1, affine))
    spoil(folder, 4, lambda values, affine: (values * 257.0, affine))
    spoil(folder, 5, lambda values, affine: (np.stack([values, values], axis=3), affine))
    (folder / "masks" / "6.nii").write_bytes(b"no mask")
    spoil(folder, 7, lambda values, affine: (values * 0, moved(affine, 0.01)))
    found = survey(source(tmp_path), settings=WHERE, task=ORGANS)
    assert (found.files, found.masks, found.used) == (8, 8, 1)
    assert found.classes == {"liver": 0, "spleen": 0, "negative": 1}  # an empty one is used
    reasons = {aside.reason.value: aside.files for aside in found.set_aside}
    assert reasons == {"mask_size": 2, "mask_elsewhere": 1, "mask_unknown": 3, "mask_unreadable": 1}


def test_masks_are_no_images_of_another_task_either(tmp_path: Path, folder: Path) -> None:
    files = source(tmp_path, task=None)
    assert sum(row.set_aside is None for row in files.rows()) == 8
    assert files.mask_files == 8


def test_places_may_differ_by_what_rounding_takes() -> None:
    place = Lattice((1, 10, 20, 30), (1.0, 2.0, 3.0), ((0.0, 0.0, 5.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)))
    assert misplaced(place, replace(place, first_mm=(1.05, 2.0, 3.0))) is None
    assert misplaced(place, replace(place, first_mm=(1.2, 2.0, 3.0))) is Reason.MASK_ELSEWHERE
    steeper = replace(place, steps_mm=((0.0, 0.02, 5.0), *place.steps_mm[1:]))
    assert misplaced(place, steeper) is Reason.MASK_ELSEWHERE  # by the last slice
    assert misplaced(place, replace(place, counts=(1, 10, 20, 31))) is Reason.MASK_SIZE
    assert misplaced(None, place) is None
