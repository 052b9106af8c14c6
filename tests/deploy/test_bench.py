"""The bench words: what every one shares, and what they stand on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

import deploy.bench.command as bench
from client.imaging.npz import ArraySource
from client.imaging.vocabulary import Vocabulary
from deploy.bench.bed import listening, remains, strays, workplace
from deploy.bench.machine import describe
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.local import LocalFederation
from shared.errors import ConfigError, StudyError
from shared.study import TaskSpec

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def test_the_machine_is_described_in_json_values() -> None:
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert len(found["load_before"]) == 3
    assert 0 < found["memory_free_bytes"] <= found["memory_bytes"]
    assert {"python", "torch", "flwr", "wardround"} <= found["versions"].keys()


def test_the_help_lists_the_words_and_loads_none_of_them() -> None:
    code = (
        "import sys, deploy.bench.command; print(*(m for m in sys.modules if m.startswith(('deploy.bench.', 'torch'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "deploy.bench.command"
    shown = CliRunner().invoke(bench.app, ["--help"], env=PLAIN).stdout
    assert all(word in shown for word in ("resume", "admission", "rounds", "memory"))


def test_a_promise_that_did_not_hold_is_the_error() -> None:
    kept = bench._answer(lambda: {"x": 1}, show=str, missed=lambda data: [])
    broken = bench._answer(lambda: {"x": 1}, show=str, missed=lambda data: ["One.", "Two."])
    assert kept.error is None
    assert kept.data["x"] == broken.data["x"] == 1
    assert kept.data["machine"]["cores"] >= 1
    assert isinstance(broken.error, StudyError)
    assert broken.error.what == "One. Two."


@pytest.mark.parametrize(("text", "numbers"), [("4", (4,)), ("1,45", (1, 45))])
def test_numbers_are_read_in_their_order(text: str, numbers: tuple[int, ...]) -> None:
    assert bench._numbers(text, "--mb") == numbers


@pytest.mark.parametrize("text", ["", "0", "-1,4", "4;16", "four", "4,"])
def test_other_words_are_no_numbers(text: str) -> None:
    with pytest.raises(ConfigError, match="--sites"):
        bench._numbers(text, "--sites")


@pytest.mark.parametrize("kill", ["", "nobody", "site,site"])
def test_an_unknown_victim_is_refused_before_anything_starts(kill: str) -> None:
    done = CliRunner().invoke(bench.app, ["resume", "--kill", kill, "--json"], env=PLAIN)
    assert done.exit_code == ConfigError.exit_code
    assert "site,worker,serverapp,superlink" in json.loads(done.stdout)["error"]["remedy"]


# ------------------------------------------------------------------ pictures


def test_the_same_seed_draws_the_same_sites(tmp_path: Path) -> None:
    once = draw_sites(tmp_path / "once", {"a": 8, "b": 8}, seed=1)
    again = draw_sites(tmp_path / "again", {"b": 8, "a": 8}, seed=1)
    other = draw_sites(tmp_path / "other", {"a": 8}, seed=2)
    pixels = {k: np.load(v.file)["images"] for k, v in once.items()}
    assert all((pixels[site] == np.load(again[site].file)["images"]).all() for site in once)
    assert not (pixels["a"] == pixels["b"]).all()
    assert not (pixels["a"] == np.load(other["a"].file)["images"]).all()


def test_a_drawn_site_is_one_that_the_catalogue_takes_whole(tmp_path: Path) -> None:
    file = draw_sites(tmp_path, {"a": 24}, seed=0)["a"].file
    vocabulary = Vocabulary(TaskSpec(classes=("spot",)), {})
    rows = list(ArraySource(file, vocabulary=vocabulary, salt=b"s" * 32).rows())
    splits = [row.split.value for row in rows]
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (24, 16, 16)
    assert not any(row.set_aside for row in rows)
    images, labels = np.load(file)["images"], np.load(file)["labels"]
    assert images.shape[1:] == (SIDE_PX, SIDE_PX)
    assert images[labels == 1].mean() > images[labels == 0].mean()


# ------------------------------------------------------------------ what is left


@pytest.fixture
def idle(tmp_path: Path) -> LocalFederation:
    """A provisioned federation of which nothing runs."""
    return LocalFederation(tmp_path / "bed", draw_sites(tmp_path, {"a": 8}, seed=0))


def test_a_process_that_names_the_folder_is_found_wherever_it_hangs(idle: LocalFederation) -> None:
    place = str(idle.root / "sites")
    with idle:
        idle.start_command("a", [sys.executable, "-c", "import time; time.sleep(600)", place])
        assert strays(idle) == 0
        held = {process.pid for process in psutil.process_iter() if process.pid == idle.processes["a"].pid}
        lost = idle.processes.pop("a")
        while not psutil.Process(lost.pid).cmdline():  # just after exec the kernel has none yet
            time.sleep(0.01)
        found = remains(idle, [], patience_s=0.2)
        assert held == {lost.pid}
        assert (found.processes, found.ports, found.count) == (1, 0, 1)
        assert strays(idle, patience_s=0.2) == 1
        lost.kill()
        lost.wait()
    assert remains(idle, []).count == 0


def test_a_port_that_still_answers_is_found(idle: LocalFederation) -> None:
    code = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, f"{idle.root}/x"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as line:
        port = int(line.readline())
    try:
        assert listening(idle) == {port, idle.port}
        assert remains(idle, [port], patience_s=0.2).ports == 1
    finally:
        child.kill()
        child.wait()
    assert remains(idle, [port]).count == 0


def test_a_workplace_stays_only_where_it_was_asked_to(tmp_path: Path) -> None:
    with workplace(None) as place:
        assert place.is_dir()
    assert not place.exists()
    with workplace(tmp_path / "kept") as kept:
        pass
    assert kept.is_dir()
    with pytest.raises(ConfigError), workplace(tmp_path / "kept"):
        pass
