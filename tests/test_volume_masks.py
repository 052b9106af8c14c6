"""The recipe of docs/study.md on real scans: two sites, a network of volumes, the spinal cord found."""

import csv
import re
from pathlib import Path

import pytest
from live_federation import answer
from memory_ward import MemoryWard

from client.imaging.settings import DataSettings
from deploy.local import TELLS_ALL
from server.journal import read_history

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
    return DataSettings(kind="nifti", folder=folder / "scans", labels=folder / "labels.csv")


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
