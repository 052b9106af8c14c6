"""Ten virtual sites in Flower's Ray engine go through a whole study, and nothing is left running."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tiny_federation import images, marked, queue_study

from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.provision import provision
from server.journal import read_history
from server.study_folder import StudyState
from shared.canonical import digest
from shared.ledger import read_entries

SITES = [f"site-{number:02d}" for number in range(10)]
ROUNDS = 2


@pytest.fixture
def home() -> Iterator[Path]:
    """A home for Ray and Flower whose sockets have short names; it and all that lives in it go."""
    if importlib.util.find_spec("ray") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Ray: install the extra `simulation`")
        pytest.skip("Ray is not installed: it comes with the extra `simulation`")
    folder = Path(tempfile.mkdtemp(prefix="ward"))
    yield folder
    left = marked(str(folder))
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=15)
    shutil.rmtree(folder)
    assert left == []


def simulate(root: Path, home: Path, study: str) -> int:
    """Run the simulation as a person does; its words go to simulation.log."""
    ours = {
        **{"HOME": str(home), "FLWR_HOME": str(home / "flwr"), "RAY_TMPDIR": str(home), "WARDROUND_TEST": str(home)},
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    words = [sys.executable, "-m", "deploy.simulation", str(root / "federation"), str(root / "sites"), study]
    with (root / "simulation.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | ours, start_new_session=True)
    try:
        return process.wait(400)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def settle(home: Path) -> None:
    """Ray's helpers end shortly after the process that started them."""
    deadline = time.monotonic() + 30
    while marked(str(home)) and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_virtual_sites_finish_a_study(tmp_path: Path, home: Path) -> None:
    place = provision(tmp_path, name="ward", host="127.0.0.1", fleet_port=9, sites=SITES, now=int(time.time()))
    for name, data in images(tmp_path, SITES).items():
        settings = SiteSettings(site=AboutSite(name=name), data=data, compute=ComputeSettings(device="cpu", threads=1))
        write_settings(place.sites[name] / "site.toml", settings)
    study = queue_study(place.federation, "simulated", rounds=ROUNDS, sites=len(SITES))

    ended = simulate(tmp_path, home, study.name)
    settle(home)

    assert ended == 0, (tmp_path / "simulation.log").read_text()[-4000:]
    assert study.standing().state is StudyState.FINISHED, study.standing().reason
    history = read_history(study.path / "journal.jsonl")
    assert [commit.counted for commit in history.commits] == [tuple(SITES)] * ROUNDS
    assert digest((study.path / "model.safetensors").read_bytes()) == history.model_digest
    for folder in place.sites.values():
        kinds = [e.data["kind"] for e in read_entries(folder / "ledger.jsonl") if e.type == "release"]
        assert kinds == ["opened", *["ready"] * (ROUNDS + 1), "closed"]
