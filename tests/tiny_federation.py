"""The smallest federation that trains: a few bright and dark squares a site, one small network."""

import os
from pathlib import Path

import numpy as np
import psutil

from client.imaging.settings import DataSettings
from server.launch import launch
from server.study_folder import StudyFolder
from shared.study import parse_study

_STUDY = """\
[study]
name = "{name}"
seed = 5
[task]
classes = ["bright"]
[images]
size_px = 16
[model]
width = 8
[training]
batch_size = 8
epochs_per_round = 1
[rounds]
count = {rounds}
quorum = {sites}
deadline_s = 600
"""


def images(root: Path, names: list[str]) -> dict[str, DataSettings]:
    """Sixteen images for training and four each for validation and test, for every site its own."""
    data = {}
    for number, name in enumerate(names):
        rng, arrays = np.random.default_rng(number), {}
        for split, count in {"train": 16, "val": 4, "test": 4}.items():
            labels = np.arange(count) % 2
            noise = rng.integers(0, 120, (count, 16, 16), dtype=np.uint8)
            arrays[f"{split}_images"] = noise + (100 * labels[:, None, None]).astype(np.uint8)
            arrays[f"{split}_labels"] = labels
        np.savez(root / f"{name}.npz", **arrays)
        data[name] = DataSettings(kind="npz", file=root / f"{name}.npz")
    return data


def study_text(name: str, *, rounds: int, sites: int) -> str:
    """The study as a coordinator writes it."""
    return _STUDY.format(name=name, rounds=rounds, sites=sites)


def queue_study(federation: Path, name: str, *, rounds: int, sites: int) -> StudyFolder:
    """Launch the study; whoever serves the federation starts it."""
    text = study_text(name, rounds=rounds, sites=sites)
    return launch(federation, parse_study(text), source=text, start_model=None, now="2026-01-01T00:00:00.000Z")


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that inherited WARDROUND_TEST=mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("WARDROUND_TEST") == mark:
                found += [process] if process.status() != psutil.STATUS_ZOMBIE else []
        except (psutil.Error, OSError):
            continue
    return found
