"""A study of volumes through the whole engine: two sites whose scans differ in form, spacing and orientation."""

from pathlib import Path

import pytest
from live_federation import answer
from memory_ward import MemoryWard
from volumes_of_two_sites import write_dicom, write_nifti

from server.journal import read_history

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "balls"
seed = 3
[task]
classes = ["towards the head"]
[images]
size_px = 16
slices = 16
spacing_mm = [4, 4, 4]
hu = [-1000, 500]
augment = "light"
[model]
width = 16
[training]
batch_size = 6
learning_rate = 0.02
epochs_per_round = 4
[rounds]
count = 4
quorum = 2
deadline_s = 600
"""


def test_two_hospitals_train_one_network_on_whole_volumes(tmp_path: Path) -> None:
    data = {"east": write_nifti(tmp_path / "east"), "west": write_dicom(tmp_path / "west")}
    ward = MemoryWard(tmp_path / "ward", data)
    folder = ward.run(STUDY)
    scored = read_history(folder.path / "journal.jsonl").scored
    tested = {site: score.figures for site in scored for score in scored[site].scores if score.split == "test"}
    assert tested.keys() == data.keys()
    assert min(figures["auroc"] for figures in tested.values()) > 0.88  # of nine pairs one may be wrong
    (tmp_path / "study.toml").write_text(STUDY)
    config = ("--config", ward.sites["west"] / "site.toml")
    said = answer("site", "data", *config, "--study", tmp_path / "study.toml")
    assert (said["files"], said["used"], said["images"], said["patients"]) == (192, 192, 24, 24)
    images = {part: inside["images"] for part, inside in said["splits"].items()}
    assert images == {"train": 12, "validation": 6, "test": 6}
