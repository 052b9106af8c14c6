"""The recipe of docs/study.md on real scans: two sites find the spinal cord, and their model is exported and used."""

import csv
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from live_federation import answer
from memory_ward import MemoryWard
from monai_runner import evaluated, run

from client.imaging.fit import fit
from client.imaging.nifti import NiftiVolumes
from client.imaging.settings import DataSettings
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction
from deploy.local import TELLS_ALL
from server.journal import read_history
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.models import build_model, load_state
from shared.randomness import StudyRandom
from shared.study import parse_study
from shared.update import PackedFile

pytestmark = [pytest.mark.usefixtures("flower_process"), pytest.mark.slow]

GUIDE = Path(__file__).parents[1] / "docs" / "study.md"
SCANS = {  # of the cord's neighbourhood in MRI of four kinds, with the mask of each
    "east": {"t2/t2": ("t2/t2_seg-manual", "train"), "t2/t2_fake_lesion": ("t2/t2_fake_lesion_sc_seg", "test")},
    "west": {
        "t1/t1w": ("t1/t1w_seg-manual", "train"),
        "mt/mt1": ("mt/mt1_seg", "train"),
        "mt/mt0": ("mt/mt0_seg", "test"),
    },
}


def write_site(folder: Path, scans: Path, named: dict[str, tuple[str, str]]) -> DataSettings:
    """A folder that links to the scans of one site, and its table."""
    folder.mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "patient", "mask", "split"])
        for scan, (mask, split) in named.items():
            for name in (scan, mask):
                link = folder / "scans" / f"{name}.nii.gz"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.hardlink_to(scans / f"{name}.nii.gz")
            table.writerow([f"{scan}.nii.gz", scan, f"{mask}.nii.gz", split])
    # No scan is kept for validation: one that is alone would be, of each seventh federation's salt.
    return DataSettings(kind="nifti", folder=folder / "scans", labels=folder / "labels.csv", validation_fraction=0.0)


def test_two_hospitals_find_the_spinal_cord_by_the_recipe_of_the_guide(tmp_path: Path, shared_data: Path) -> None:
    section = GUIDE.read_text().partition("### Volumes with masks")[2]
    (study,) = re.findall(r"```toml\n(\[study\].*?)```", section, re.DOTALL)[:1]
    scans = shared_data / "nifti" / "spinalcord_sct"
    data = {site: write_site(tmp_path / site, scans, named) for site, named in SCANS.items()}
    few = TELLS_ALL.model_copy(update={"patients_at_least": 1, "batch_size_at_least": 1})
    ward = MemoryWard(tmp_path / "ward", data, policy=few)
    folder = ward.run(study)
    (tmp_path / "study.toml").write_text(study)
    said = answer("site", "data", "--config", ward.sites["west"] / "site.toml", "--study", tmp_path / "study.toml")
    assert (said["files"], said["masks"], said["used"], said["set_aside"]) == (3, 3, 3, [])
    scored = read_history(folder.path / "journal.jsonl").scored
    tested = {site: score.figures for site in scored for score in scored[site].scores if score.split == "test"}
    assert tested.keys() == data.keys()
    # One or two scans a site, and of other contrast: to call every voxel cord gives 0.06, this run 0.33.
    assert min(figures["dice"] for figures in tested.values()) > 0.2
    use(ward, folder, study, scans / "mt" / "mt0.nii.gz", tmp_path)


def use(ward: MemoryWard, folder: StudyFolder, text: str, scan: Path, root: Path) -> None:
    """Export the model and let a hospital and MONAI's runner outline a scan: the same, and as the network does."""
    (root / "exams").mkdir()
    (root / "exams" / scan.name).hardlink_to(scan)
    where = ("-f", ward.federation, "--format", "monai-bundle", "--out", root / "bundle")
    package = answer("study", "export", folder.name, *where)
    to = ("--input", root / "exams", "--out", root / "answers", "--coordinator", package["coordinator"])
    said = answer("predict", "--model", root / "bundle", *to, "--device", "cpu")
    assert (said["files"], said["predicted"]) == (1, 1)
    (answered,) = (Prediction.model_validate_json(path.read_bytes()) for path in (root / "answers").rglob("*.json"))
    (found,), (logits,) = (
        run(root / "bundle", root / "exams", root / "masks"),
        evaluated(root / "bundle", root / "exams"),
    )
    assert np.abs(logits - logits_of(folder, text, scan)).max() < 1e-4
    volume, *masks = (nibabel.load(path) for path in (scan, root / "answers" / answered.masks[0], found["mask"]))
    for mask in masks:
        assert mask.shape == volume.shape and np.allclose(mask.affine, volume.affine)
    ours, theirs = (np.asarray(mask.dataobj) for mask in masks)
    assert ours.any() and (ours == theirs).mean() > 0.999


def logits_of(folder: StudyFolder, text: str, scan: Path) -> np.ndarray:
    """What the network of the study's own folder says of a scan."""
    study, final = parse_study(text), read_history(folder.journal).final_digest
    images = study.images
    network = build_model(study.model, images=images, outputs=study.task.outputs, random=StudyRandom(0)).eval()
    (model,) = (path for path in folder.path.glob("models/*.safetensors") if digest(path.read_bytes()) == final)
    load_state(network, dict(PackedFile(model).items()))
    (pixels,) = NiftiVolumes(images).pixels(scan.read_bytes(), [0])
    with torch.inference_mode():
        return network(to_network(fit(pixels, images)[None]))[0].numpy()
