"""Which model leaves as a package, and that the package is whole, signed and the journal's."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_study import Finished, finished_study
from live_federation import answer, wardround

from client.prediction.released_model import load_released
from server.export import Asked, Exported, evidence_for, export_model
from server.export.flow import FIGURES_OF_DRAWINGS
from server.federation import load_federation
from server.study_folder import StudyState
from shared.errors import ConfigError, StudyError, TrustError
from shared.model_package import open_package
from shared.update import PackedFile

ASKED = Asked(federation="lung", made="2026-01-03T00:00:00Z")


def exported(made: Finished, to: Path) -> Exported:
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    return export_model(made.folder, evidence, ASKED, to=to, form="safetensors", key=key)


def test_the_package_opens_and_holds_the_model_of_the_journal(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    done = exported(made, tmp_path / "deep" / "package")
    public = load_federation(made.place.federation).coordinator_key.public_key()
    opened = open_package(done.folder, coordinator=public)
    assert opened.card == done.card
    assert opened.card.weights.sha256 == opened.card.weights.study_sha256
    found = dict(PackedFile(opened.model).items())
    assert found.keys() == made.state.keys()
    assert all(np.array_equal(found[name], value) for name, value in made.state.items())
    assert set(done.files) == {path.name for path in done.folder.iterdir()}
    assert [path.name for path in done.folder.parent.iterdir()] == ["package"]  # and nothing half-written


def test_control_variates_stay_behind(tmp_path: Path) -> None:
    made = finished_study(
        tmp_path, length='epochs_per_round = 1\nalgorithm = "scaffold"\noptimizer = "sgd"\nmomentum = 0'
    )
    done = exported(made, tmp_path / "package")
    names = {tensor.name for tensor in PackedFile(done.folder / "model.safetensors").table()}
    assert names == {name for name in made.state if not name.startswith("control/")} < made.state.keys()
    assert done.card.weights.sha256 != done.card.weights.study_sha256


def test_a_model_without_its_norms_is_no_model(tmp_path: Path) -> None:
    made = finished_study(tmp_path, length='epochs_per_round = 1\nalgorithm = "fedbn"')
    with pytest.raises(StudyError, match="norm layers"):
        exported(made, tmp_path / "package")


def test_a_model_that_draws_leaves_with_its_likeness_and_what_it_may_give_back(tmp_path: Path) -> None:
    made = finished_study(tmp_path, kind="generation", model="vae", size_px=16)
    done, key = exported(made, tmp_path / "package"), load_federation(made.place.federation).coordinator_key
    found = done.card.performance.figures
    assert found["ssim"].value is not None and found["ssim"].low is not None
    assert found.keys() == {"ssim", *FIGURES_OF_DRAWINGS.values()}
    assert [site.ssim is not None and site.auroc is None for site in done.card.performance.by_site] == [True] * 3
    assert "memorised" in done.card.limits[0]
    page = (done.folder / "model-card.html").read_text(encoding="utf-8")
    assert "SSIM" in page and "sensitivity" not in page and "AUROC" not in page and "Calibration" not in page
    with pytest.raises(ConfigError, match="draws images"):
        load_released(done.folder, coordinator=key.public_key(), device="cpu")
    evidence, _ = evidence_for(made.folder, roster=None)
    with pytest.raises(StudyError, match="monai-bundle is for a model that reads"):
        export_model(made.folder, evidence, ASKED, to=tmp_path / "bundle", form="monai-bundle", key=key)
    asked = replace(ASKED, specificity=0.9)
    with pytest.raises(ConfigError, match="no cut"):
        export_model(made.folder, evidence, asked, to=tmp_path / "cut", form="safetensors", key=key)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_study(tmp_path_factory.mktemp("ward"))


def test_a_study_that_runs_has_no_final_model(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    made.folder.move(StudyState.RUNNING, now="2026-01-02T03:04:05Z")
    with pytest.raises(StudyError, match="running"):
        exported(made, tmp_path / "package")


def test_another_model_on_the_disk_does_not_leave(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    model = made.folder.path / "models" / "round-00001.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(StudyError, match="not the model that the journal names"):
        exported(made, tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_a_journal_of_another_signer_does_not_vouch(tmp_path: Path) -> None:
    made, other = (finished_study(tmp_path / name) for name in ("one", "other"))
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(other.place.federation).coordinator_key
    with pytest.raises(TrustError):
        export_model(made.folder, evidence, ASKED, to=tmp_path / "package", form="safetensors", key=key)


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    (tmp_path / "package").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        exported(made, tmp_path / "package")
    assert os.listdir(tmp_path / "package") == []


def test_a_class_that_bears_a_sites_name_is_not_hidden(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    with pytest.raises(StudyError, match="bears a site's name"):
        evidence_for(made.folder, roster=("opacity",))


def test_the_command_writes_a_bundle_and_says_by_what_key(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    asked = ("study", "export", "chest", "-f", made.place.federation, "--format", "monai-bundle")
    said = answer(*asked, "--out", tmp_path / "bundle", "--letters", "--specificity", "0.9")
    assert said["coordinator"] == load_federation(made.place.federation).roster.coordinator_key
    assert sorted(said["letters"].values()) == ["north", "south", "west"]
    assert said["card"]["operating"]["rule"] == "specificity"
    assert {"configs/inference.json", "models/model.safetensors", "manifest.sig"} <= set(said["files"])
    assert wardround(*asked, "--out", tmp_path / "bundle").exit_code == ConfigError.exit_code
