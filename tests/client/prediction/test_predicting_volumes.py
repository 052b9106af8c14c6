"""A released model that sees volumes: NIfTI files and DICOM series are brought to the grid as its study brings them."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from finished_study import Finished, finished_study
from live_federation import answer
from volumes_of_two_sites import write_dicom, write_nifti

from client.imaging.fit import fit
from client.imaging.sources import open_source
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction
from server.export import Asked, Exported, evidence_for, export_model
from server.federation import load_federation
from shared.calibration import probabilities
from shared.keys import identity_hex
from shared.models import build_model, load_state
from shared.randomness import StudyRandom

IMAGES = "slices = 16\nspacing_mm = [4, 4, 4]\nhu = [-1000, 500]"


def packed(made: Finished, to: Path, form: Any = "safetensors") -> Exported:
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    return export_model(made.folder, evidence, Asked(federation="lung", made="2026"), to=to, form=form, key=key)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_study(tmp_path_factory.mktemp("ward"), size_px=16, images=IMAGES)


def network_of(made: Finished) -> torch.nn.Module:
    spec, task = made.study.images, made.study.task
    network = build_model(made.study.model, images=spec, outputs=task.outputs, random=StudyRandom(0)).eval()
    load_state(network, made.state)
    return network


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_volume_is_answered_as_its_study_sees_it(ward: Finished, tmp_path: Path, kind: Any) -> None:
    data = {"nifti": write_nifti, "dicom": write_dicom}[kind](tmp_path / "data", splits=["test"] * 2)
    assert data.images is not None
    package = packed(ward, tmp_path / "package")
    assert any("4 x 4 x 4 mm" in line for line in package.card.preprocessing)
    key = identity_hex(load_federation(ward.place.federation).coordinator_key.public_key())
    where = ("--model", package.folder, "--input", data.images, "--out", tmp_path / "out", "--kind", kind)
    said = answer("predict", *where, "--coordinator", key, "--device", "cpu", "--explain", 1)
    page = (tmp_path / "out" / "explained.html").read_text()
    assert said["explained"] == 1 and page.count("<img") == 9 and page.count("sagittal as the network sees it") == 2
    files = 2 if kind == "nifti" else 16
    assert (said["files"], said["used"], said["exams"], said["predicted"], said["images"]) == (files, files, 2, 2, 2)
    task, images = ward.study.task, ward.study.images
    source = open_source(data, task=task, salt=b"0" * 16, base=tmp_path, images=images)
    rows = [row for row in source.rows() if row.set_aside is None]
    assert len(rows) == 2
    volumes = [fit(pixels, images) for pixels in source.decode(rows) if isinstance(pixels, np.ndarray)]
    with torch.inference_mode():
        logits = network_of(ward)(to_network(np.stack(volumes))).numpy()
    wanted = probabilities(logits.astype(np.float64), package.card.calibration.scalings, exclusive=False)[:, 0]
    there = [Prediction.model_validate_json(path.read_bytes()) for path in (tmp_path / "out").rglob("*.json")]
    assert sorted(one.findings[0].probability for one in there) == pytest.approx(sorted(wanted), abs=1e-5)
    assert np.ptp(logits) > 1e-4


@pytest.mark.parametrize(("kind", "patch"), [("nifti", "\n[images.patch]\nsize_px = 16\nslices = 16"), ("dicom", "")])
def test_a_volume_has_its_mask_on_its_own_voxels(tmp_path: Path, kind: Any, patch: str) -> None:
    grid = "slices = 32\nspacing_mm = [2, 2, 2]\nhu = [-1000, 500]" + patch
    made = finished_study(tmp_path / "ward", kind="segmentation", model="unet", size_px=32, images=grid)
    data = {"nifti": write_nifti, "dicom": write_dicom}[kind](tmp_path / "data", splits=["test"])
    assert data.images is not None
    key = identity_hex(load_federation(made.place.federation).coordinator_key.public_key())
    where = ("--model", packed(made, tmp_path / "package").folder, "--input", data.images, "--out", tmp_path / "out")
    seg = ("--dicom-seg",) if kind == "dicom" else ()
    said = answer("predict", *where, "--kind", kind, "--coordinator", key, "--device", "cpu", *seg)
    assert (said["predicted"], said["images"]) == (1, 1)
    (there,) = (Prediction.model_validate_json(path.read_bytes()) for path in (tmp_path / "out").rglob("*.json"))
    (place,), (structure,) = (tmp_path / "out").rglob(there.masks[0]), there.structures
    if kind == "nifti":
        volume, mask = nibabel.load(next(data.images.iterdir())), nibabel.load(place)
        assert mask.shape == volume.shape and np.allclose(mask.affine, volume.affine)
        places, voxel_ml = int((np.asarray(mask.dataobj) == 1).sum()), 64 / 1000
    else:
        places, voxel_ml = int(pydicom.dcmread(place).pixel_array.sum()), 32 / 1000
    assert structure.volume_ml == pytest.approx(places * voxel_ml, rel=1e-6)
    assert places > 0
