"""A released model that finds masks, on real pictures, slices and series: each mask lies on its image's own grid."""

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import tomli_w
import torch
from finished_study import Finished, finished_study
from live_federation import answer, wardround
from PIL import Image
from scipy.special import expit, softmax

from client.imaging.fit import fit, unfit
from client.imaging.nifti import Nifti
from client.imaging.pictures import Picture
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction
from server.export import Asked, Exported, evidence_for, export_model
from server.federation import load_federation
from shared.errors import ConfigError
from shared.keys import identity_hex
from shared.model_card import RESEARCH_ONLY
from shared.models import build_model, load_state
from shared.randomness import StudyRandom

SIDE = 64
SPINE = "spinalcord_sct"


class Ward:
    """A finished study of masks, its package, and its network."""

    def __init__(self, root: Path, **how: Any) -> None:
        self.made: Finished = finished_study(root, kind="segmentation", model="unet", size_px=SIDE, **how)
        evidence, _ = evidence_for(self.made.folder, roster=None)
        key = load_federation(self.made.place.federation).coordinator_key
        asked: dict[str, Any] = {"to": root / "package", "form": "safetensors", "key": key}
        self.exported: Exported = export_model(
            self.made.folder, evidence, Asked(federation="lung", made="2026"), **asked
        )
        self.key, inputs = identity_hex(key.public_key()), self.exported.card.inputs
        self.network = build_model(
            inputs.model, images=inputs.images, outputs=inputs.task.outputs, random=StudyRandom(0)
        ).eval()
        load_state(self.network, self.made.state)

    def asked(self, images: Path, out: Path, *more: object) -> tuple[object, ...]:
        where = ("--model", self.exported.folder, "--input", images, "--out", out, "--device", "cpu")
        return ("predict", *where, "--coordinator", self.key, *more)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.network(to_network(fit(pixels, self.exported.card.inputs.images)[None]))[0].numpy()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return Ward(tmp_path_factory.mktemp("one"), channels=3)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return Ward(tmp_path_factory.mktemp("several"), mode="multiclass")


def test_a_picture_has_a_mask_of_its_own_size(one: Ward, tmp_path: Path, shared_data: Path) -> None:
    pictures = sorted((shared_data / "ham10000_sites" / "jpeg_200x150").rglob("*.jpg"))[:3]
    (tmp_path / "images").mkdir()
    for file in pictures:
        shutil.copy(file, tmp_path / "images")
    said = answer(*one.asked(tmp_path / "images", tmp_path / "out"))
    assert (said["predicted"], said["used"], said["called"].keys()) == (3, 3, {"opacity"})
    there = Prediction.model_validate_json((tmp_path / "out" / f"{pictures[0].name}.json").read_bytes())
    file = tmp_path / "out" / there.masks[0]
    assert file.stat().st_mode & 0o777 == 0o600
    with Image.open(file) as picture, Image.open(pictures[0]) as original:
        assert picture.size == original.size
        assert RESEARCH_ONLY in picture.info["Comment"]
        mask = np.asarray(picture)
    pixels = next(iter(Picture().pixels(pictures[0].read_bytes(), [0])))
    shares = unfit(expit(one.logits(pixels)[0]), pixels.shape[:2], to=pixels.shape[:2])
    sure = np.abs(shares - 0.5) > 1e-5
    assert ((mask == 255) == (shares >= 0.5))[sure].all() and sure.mean() > 0.99
    (structure,) = there.structures
    assert (structure.area_px, structure.found) == ((mask == 255).sum(), bool(mask.any()))
    assert there.findings == () and "no patient has a probability" in there.calibration


def test_a_mask_that_is_missing_is_made_again(one: Ward, tmp_path: Path, shared_data: Path) -> None:
    file = sorted((shared_data / "ham10000_sites" / "jpeg_200x150").rglob("*.jpg"))[0]
    (tmp_path / "images").mkdir()
    shutil.copy(file, tmp_path / "images")
    asked = one.asked(tmp_path / "images", tmp_path / "out")
    assert [answer(*asked)["kept"] for _ in range(2)] == [0, 1]
    (mask,) = (tmp_path / "out").glob("*.png")
    mask.unlink()
    assert (answer(*asked)["predicted"], mask.is_file()) == (1, True)


def test_the_slices_of_a_volume_have_a_mask_on_its_own_grid(several: Ward, tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "images").mkdir()
    source = next((shared_data / "nifti" / SPINE).rglob("t2.nii.gz"))
    shutil.copy(source, tmp_path / "images" / "t2.nii.gz")
    said = answer(*several.asked(tmp_path / "images", tmp_path / "out"))
    there = Prediction.model_validate_json((tmp_path / "out" / "t2.nii.gz.json").read_bytes())
    mask, volume = nibabel.load(tmp_path / "out" / there.masks[0]), nibabel.load(source)
    assert (mask.shape, said["images"]) == (volume.shape, len(list(several_slices(source))))
    assert np.allclose(mask.affine, volume.affine) and mask.header["descrip"].tobytes().startswith(b"research use")
    values = np.asarray(mask.dataobj)
    upright = nibabel.as_closest_canonical(mask)  # RAS; ours is LPS, from the feet up
    slices = np.asarray(upright.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    number = len(slices) // 2
    pixels = list(several_slices(source))[number]
    shares = softmax(several.logits(pixels), axis=0)
    own = np.stack([unfit(share, pixels.shape[:2], to=slices.shape[1:]) for share in shares])
    best = np.sort(own, axis=0)
    sure = best[-1] - best[-2] > 1e-5
    assert (slices[number] == own.argmax(axis=0))[sure].all() and sure.mean() > 0.99
    voxel_ml = float(np.prod(volume.header.get_zooms()[:3])) / 1000
    for index, structure in enumerate(there.structures, 1):
        assert structure.volume_ml == pytest.approx((values == index).sum() * voxel_ml, rel=1e-4, abs=1e-6)
    assert len(np.unique(values)) > 1


def several_slices(source: Path) -> Any:
    data = source.read_bytes()
    return Nifti().pixels(data, range(Nifti().facts(data).frames))


def test_what_is_of_a_probability_is_refused(one: Ward, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    done = wardround(*one.asked(tmp_path / "images", tmp_path / "out", "--explain", 2, "--json"))
    assert done.exit_code == ConfigError.exit_code
    assert "mask itself" in json.loads(done.stdout)["error"]["remedy"]


def written_anew(series: Path, to: Path) -> Path:
    """The same series, of which every second slice went through a program that keeps four decimals."""
    to.mkdir()
    for number, file in enumerate(sorted(series.glob("*.dcm"))):
        image = pydicom.dcmread(file)
        for name in ("ImageOrientationPatient", "PixelSpacing") if number % 2 else ():
            image[name].value = [f"{float(part):.4f}" for part in image[name].value]
        image.save_as(to / file.name)
    return to


def test_an_exam_whose_headers_lack_what_a_seg_needs_says_so_and_is_kept(
    several: Ward, tmp_path: Path, shared_data: Path
) -> None:
    (tmp_path / "images").mkdir()
    image = pydicom.dcmread(shared_data / "dicom" / "pydicom_test_files" / "CT_small.dcm")
    del image.SeriesInstanceUID
    image.save_as(tmp_path / "images" / "ct.dcm")
    asked = several.asked(tmp_path / "images", tmp_path / "out", "--dicom-seg")
    said = [answer(*asked) for _ in range(2)]
    assert [(one["predicted"], one["kept"], one["unsegmented"]) for one in said] == [(1, 0, 1), (0, 1, 1)]
    (there,) = (Prediction.model_validate_json(path.read_bytes()) for path in (tmp_path / "out").glob("*.json"))
    assert there.masks == () and "headers" in (there.masks_missing or "")


def test_a_dicom_series_has_its_masks_as_a_dicom_seg(several: Ward, tmp_path: Path, shared_data: Path) -> None:
    config = next(iter(several.made.place.sites.values())) / "site.toml"
    data = {"kind": "dicom", "folder": str(shared_data), "labels": str(tmp_path / "none.csv"), "keep": ["secondary"]}
    config.write_text(tomli_w.dumps({"site": {"name": "north"}, "data": data}))
    series = written_anew(shared_data / "dicom" / "mr_series_24", tmp_path / "series")
    asked = several.asked(series, tmp_path / "out", "--config", config)
    said = answer(*asked)
    assert (said["predicted"], said["images"], list((tmp_path / "out").glob("*.dcm"))) == (1, 24, [])
    said = answer(*asked, "--dicom-seg")
    assert (said["predicted"], said["kept"], said["segmentations"], said["unsegmented"]) == (1, 0, 1, 0)
    (file,) = (tmp_path / "out").glob("*.dcm")
    (there,) = (Prediction.model_validate_json(path.read_bytes()) for path in (tmp_path / "out").glob("*.json"))
    found = pydicom.dcmread(file)
    assert there.masks == (file.name,)
    assert sum(structure.area_px or 0 for structure in there.structures) == found.pixel_array.sum() > 0
    assert several.exported.card.weights.sha256.encode() in file.read_bytes()
    assert answer(*asked, "--dicom-seg")["kept"] == 1
