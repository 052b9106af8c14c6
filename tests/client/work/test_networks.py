"""Networks that sites of one process share: whoever comes next finds nothing of whoever was before."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from lone_site import a_study

from client.imaging.examples import Examples, SiteData
from client.work.device import ResolvedDevice
from client.work.local_work import LocalWork
from client.work.networks import Networks
from server.launch import start_state
from shared.study import Study
from shared.update import pack

CPU = torch.device("cpu")
IMAGES, MODEL = {"size_px": 16}, {"name": "basic_cnn", "width": 8, "norm": "batch"}


def study(**sections: dict[str, object]) -> Study:
    return a_study(images=IMAGES, model=MODEL, **sections)


def a_work(asked: Study, site: str, networks: Networks) -> LocalWork:
    seed = len(site)

    def images(count: int) -> Examples:
        pixels = np.random.default_rng(seed).integers(0, 60000, (count, 1, 16, 16), dtype=np.uint16)
        return Examples(pixels, np.arange(count) % 2, np.arange(count))

    data = SiteData(images(8), images(4), images(4), "a" * 64, None)  # type: ignore[arg-type]
    return LocalWork(asked, site=site, data=data, device=ResolvedDevice("cpu", "for the test"), networks=networks)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedbn"])
def test_a_site_after_another_computes_what_it_computes_alone(tmp_path: Path, algorithm: str) -> None:
    asked = study(training={"algorithm": algorithm, "batch_size": 4, "epochs_per_round": 1})
    start = tmp_path / "start"
    start.write_bytes(pack(start_state(asked)))
    shared = Networks()
    a_work(asked, "north", shared).train(start, model_digest="a" * 64, number=1)
    after = a_work(asked, "faraway", shared).train(start, model_digest="a" * 64, number=1)
    alone = a_work(asked, "faraway", Networks()).train(start, model_digest="a" * 64, number=1)
    assert after.update == alone.update
    assert after.kept == alone.kept
    assert (after.kept is not None) == (algorithm == "fedbn")
    assert [score.statistics for score in after.scores] == [score.statistics for score in alone.scores]


def test_a_thread_has_one_network_for_each_study_and_shares_it_with_nobody() -> None:
    one, networks, others = study(), Networks(), []
    first = networks.network(one, CPU)
    thread = threading.Thread(target=lambda: others.append(networks.network(one, CPU)))
    thread.start()
    thread.join()
    assert networks.network(one, CPU) is first
    assert networks.network(study(study={"name": "other"}), CPU) is not first
    assert others[0] is not first
    networks.forget(one.digest())
    assert networks.network(one, CPU) is not first
