"""A site's work on one study: what is packed is the change after the steps of the one slot."""

from pathlib import Path

import numpy as np
import torch
from lone_site import a_study

from client.change import Change
from client.device import ResolvedDevice
from client.imaging.examples import Examples, SiteData
from client.local_work import LocalWork
from server.launch import start_state
from shared.update import PackedFile, pack


def images(count: int) -> Examples:
    pixels = np.random.default_rng(count).integers(0, 60000, (count, 1, 16, 16), dtype=np.uint16)
    return Examples(pixels, np.arange(count) % 2, np.arange(count))


def emptied(change: Change) -> Change:
    return {name: np.zeros_like(value) for name, value in change.items()}


def test_the_steps_of_the_one_slot_are_applied_before_packing(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study = a_study(images={"size_px": 16}, model={"name": "basic_cnn", "width": 8, "norm": "none"})
    start = tmp_path / "start"
    start.write_bytes(pack(start_state(study)))
    data = SiteData(images(8), images(4), images(4), "a" * 64, None)  # type: ignore[arg-type]
    device = ResolvedDevice("cpu", "for the test")
    work = LocalWork(study, site="north", data=data, device=device, steps=(emptied,))
    (tmp_path / "update").write_bytes(work.train(start, model_digest="a" * 64, number=1).update)
    assert not any(values.any() for _, values in PackedFile(tmp_path / "update").items())
    torch.set_num_threads(threads)
