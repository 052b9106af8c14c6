"""A lone site with real images of a few patients, two each, for a worker of its own."""

from pathlib import Path

import numpy as np
from lone_site import LoneSite, a_study

from shared.study import Study

PRIVATE = a_study(
    model={"width": 8, "norm": "group"},
    privacy={"noise_multiplier": 1.5, "sampling_rate": 0.5, "patients_per_step": 4},
)


def site_of_few(root: Path, *, study: Study | None = None) -> LoneSite:
    """A site of eight patients, of whom six train."""
    site = LoneSite(root, study=study)
    config = site.folder / "site.toml"
    config.write_text(config.read_text().replace("threads = 1", 'threads = 1\ndevice = "cpu"'))
    write_images(site, 8)
    return site


def write_images(site: LoneSite, patients: int) -> None:
    """Two images of each; the last two patients are for validation and test."""
    names = np.repeat([f"patient {n}" for n in range(patients)], 2)
    split = np.repeat(["train"] * (patients - 2) + ["val", "test"], 2)
    images = np.random.default_rng(0).integers(0, 255, (len(names), 28, 28), dtype=np.uint8)
    labels = np.arange(len(names)) % 2
    np.savez(site.folder / "images.npz", images=images, labels=labels, patient=names, split=split)
