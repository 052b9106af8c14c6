"""A study that learns to draw, through the whole engine, and the images drawn from its model."""

from pathlib import Path

import numpy as np
import pytest
from live_federation import answer, wardround
from memory_ward import MemoryWard
from PIL import Image

from client.imaging.settings import DataSettings
from server.report import report_data, write_report

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "squares"
[task]
kind = "generation"
classes = ["square"]
accept_memorisation = true
[images]
size_px = 16
[model]
name = "vae"
[training]
optimizer = "adam"
learning_rate = 0.003
batch_size = 8
epochs_per_round = 20
[rounds]
count = 3
quorum = 2
deadline_s = 600
"""


def squares(folder: Path, seed: int) -> DataSettings:
    """Bright squares at one place, of many shades, with labels that such a study does not ask for."""
    folder.mkdir()
    rng, arrays = np.random.default_rng(seed), {}
    for split, count in {"train": 24, "val": 12, "test": 12}.items():
        images = np.full((count, 16, 16), 20, np.uint8)
        images[:, 4:12, 4:12] = rng.integers(120, 250, (count, 1, 1), dtype=np.uint8)
        arrays |= {f"{split}_images": images, f"{split}_labels": np.full(count, 7)}
    np.savez(folder / "images.npz", **arrays)
    return DataSettings(kind="npz", file=folder / "images.npz")


def test_two_sites_train_a_model_that_draws_and_the_coordinator_looks_at_what_it_draws(tmp_path: Path) -> None:
    ward = MemoryWard(tmp_path / "ward", {name: squares(tmp_path / name, len(name)) for name in ("east", "western")})
    folder = ward.run(STUDY)
    found = report_data(folder)
    assert found["curve"][-1]["loss"] < found["curve"][0]["loss"] / 2
    assert found["test"]["ssim"]["value"] > found["curve"][0]["ssim"]["value"]
    page = write_report(folder).read_text(encoding="utf-8")
    assert "SSIM" in page
    assert "AUROC" not in page

    where = ("--federation", ward.federation)
    drawn = answer("study", "sample", "squares", *where, "--count", 24, "--out", tmp_path / "drawn")
    answer("study", "sample", "squares", *where, "--count", 24, "--out", tmp_path / "again")
    assert drawn["files"] == [f"synthetic-{n:04d}.png" for n in range(1, 25)]
    pictures = []
    for name in drawn["files"]:
        with Image.open(tmp_path / "drawn" / name) as image, Image.open(tmp_path / "again" / name) as same:
            assert image.info["Description"].startswith(f"SYNTHETIC: drawn by the model {ward.model_digest(folder)}")
            pixels = np.asarray(image)
            assert np.array_equal(pixels, np.asarray(same))
        assert pixels.shape == (16, 16)
        pictures.append(pixels)
    typical = np.mean(pictures, axis=0)
    assert typical[5:11, 5:11].mean() > typical[:3].mean() + 15  # a square, on most of them
    refused = wardround("study", "sample", "squares", *where, "--out", tmp_path / "drawn")
    assert refused.exit_code != 0
    assert "is there already" in " ".join(refused.output.split())
