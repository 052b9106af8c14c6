"""A released model of CT sees real CT in the window that its study names, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_study import Finished, finished_study
from live_federation import answer, wardround

from client.imaging.dicom import Dicom
from client.imaging.dicom_hounsfield import UNASKED
from client.imaging.fit import fit
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction
from server.export import Asked, Exported, evidence_for, export_model
from server.export.preprocessing import preprocessing_of
from server.federation import load_federation
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.keys import identity_hex
from shared.models import build_model, load_state
from shared.randomness import StudyRandom

HU = (-150.0, 250.0)


def exported(made: Finished, to: Path, form: Any = "safetensors") -> Exported:
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    return export_model(made.folder, evidence, Asked(federation="lung", made="2026"), to=to, form=form, key=key)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_study(tmp_path_factory.mktemp("ward"), images="hu = [-150, 250]")


@pytest.fixture(scope="module")
def package(ward: Finished, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(ward, tmp_path_factory.mktemp("package") / "p")


@pytest.fixture
def asked(ward: Finished, package: Exported, tmp_path: Path) -> tuple[object, ...]:
    (tmp_path / "images").mkdir()
    key = identity_hex(load_federation(ward.place.federation).coordinator_key.public_key())
    where = ("--model", package.folder, "--input", tmp_path / "images", "--out", tmp_path / "out", "--device", "cpu")
    return ("predict", *where, "--coordinator", key)


def logit(made: Finished, data: bytes, hu: tuple[float, float] | None) -> float:
    spec = made.study.images
    network = build_model(made.study.model, images=spec, outputs=1, random=StudyRandom(0)).eval()
    load_state(network, made.state)
    (pixels,) = Dicom(hu).pixels(data, [0])
    with torch.inference_mode():
        return float(network(to_network(fit(pixels, spec)[None]))[0, 0])


def test_ct_is_seen_in_the_studys_window(
    ward: Finished, package: Exported, asked: tuple[object, ...], tmp_path: Path, shared_data: Path
) -> None:
    files = shared_data / "dicom" / "pydicom_test_files"
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(files / name, tmp_path / "images")
    said = answer(*asked)
    assert (said["predicted"], said["set_aside"]) == (1, {"no_hounsfield": 1})
    (there,) = (tmp_path / "out").glob("*.json")
    (finding,) = Prediction.model_validate_json(there.read_bytes()).findings
    (scaling,) = package.card.calibration.scalings or ()
    wanted, other = (
        1 / (1 + np.exp(-(scaling.slope * logit(ward, (files / "CT_small.dcm").read_bytes(), hu) + scaling.offset)))
        for hu in (HU, None)
    )
    assert abs(wanted - other) > 1e-4  # else the window makes no difference here
    assert finding.probability == pytest.approx(wanted, abs=1e-5)


def test_pictures_are_refused_that_know_no_hounsfield_units(asked: tuple[object, ...]) -> None:
    done = wardround(*asked, "--kind", "pictures", "--json")
    assert done.exit_code == ConfigError.exit_code
    assert "dicom or nifti" in json.loads(done.stdout)["error"]["remedy"]


def test_the_card_names_the_window(package: Exported) -> None:
    assert "-150 to 250 HU" in package.card.preprocessing[0]
    assert not any("VOI" in line or "PNG" in line for line in package.card.preprocessing)
    unasked = preprocessing_of(ImageSpec())
    assert "{:g} to {:g} HU".format(*UNASKED) in unasked[0]
    assert any("PNG" in line for line in unasked)
