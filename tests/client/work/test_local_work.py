"""A site's work on one study: what is packed is the change after the steps of the one slot."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lone_site import a_study

from client.imaging.examples import Examples, SiteData
from client.work.change import IDENTITY, Change, Step
from client.work.device import ResolvedDevice
from client.work.local_work import LocalWork
from server.launch import start_state
from shared.study import Study
from shared.update import PackedFile, pack

SMALL = {"name": "basic_cnn", "width": 8, "norm": "none"}


def images(count: int) -> Examples:
    pixels = np.random.default_rng(count).integers(0, 60000, (count, 1, 16, 16), dtype=np.uint16)
    return Examples(pixels, np.arange(count) % 2, np.arange(count))


def emptied(change: Change) -> Change:
    return {name: np.zeros_like(value) for name, value in change.items()}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_steps_of_the_one_slot_are_applied_before_packing(tmp_path: Path) -> None:
    study = a_study(images={"size_px": 16}, model=SMALL)
    update = trained(study, tmp_path, number=1, steps=(emptied,))
    assert not any(values.any() for _, values in PackedFile(update).items())


def test_a_round_is_trained_at_its_rate_of_the_schedule(tmp_path: Path) -> None:
    """The second of two rounds of a cosine has half the rate, in SCAFFOLD's control variates too."""
    for number, algorithm in enumerate(("fedavg", "scaffold")):
        method = {"algorithm": algorithm, "momentum": 0.0, "epochs_per_round": 1}
        falling = {"learning_rate": 0.1, "schedule": "cosine", **method}
        asked = [{"learning_rate": 0.1, **method}, {"learning_rate": 0.05, **method}]
        studies = [a_study(images={"size_px": 16}, model=SMALL, training=keys) for keys in (falling, *asked)]
        folder = tmp_path / str(number)
        folder.mkdir()
        first, second = (trained(studies[0], folder, number=n).read_bytes() for n in (1, 2))
        assert first == trained(studies[1], folder, number=1).read_bytes()
        assert second == trained(studies[2], folder, number=2).read_bytes()


def trained(study: Study, folder: Path, *, number: int, steps: tuple[Step, ...] = IDENTITY) -> Path:
    """What a site makes of the start model in one round."""
    start, update = folder / "start", folder / "update"
    start.write_bytes(pack(start_state(study)))
    data = SiteData(images(8), images(4), images(4), "a" * 64, None)  # type: ignore[arg-type]
    work = LocalWork(study, site="north", data=data, device=ResolvedDevice("cpu", "for the test"), steps=steps)
    done = work.train(start, model_digest="a" * 64, number=number).update
    assert done is not None
    update.write_bytes(done)
    return update
