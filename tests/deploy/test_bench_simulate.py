"""The bench of simulations: what it takes from the answers, what it promises, and a small run."""

import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import deploy.bench.command as bench
from deploy.bench.simulate import missed, run, show
from shared.errors import ConfigError, ResourceError

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
PFL = 'import json\nprint("noise")\nprint(json.dumps({"round_wall_s": 3.0, "peak_rss_mb": 400.0}))\n'
LOOP = 'import json\nprint(json.dumps({"train_total_s": 4.0, "overhead_per_round_s": 0.5}))\n'


def measured(ratio: float, memory: int) -> dict[str, Any]:
    each = {"seconds_per_round": 2.0, "plain_loop_s": 1.8, "ratio": ratio}
    runs = [each | {"sites": n, "rss_peak_bytes": size} for n, size in ((10, 400_000_000), (100, memory))]
    return {"runs": runs, "memory_ratio": memory / 400_000_000, "pfl": None, "method": "so"}


def test_the_aims_are_a_cheap_round_and_a_memory_that_stays() -> None:
    assert list(missed(measured(1.25, 440_000_000))) == []
    slow, large = missed(measured(1.75, 500_000_000))
    assert "1.75 times a bare loop" in slow
    assert "1.25 times the memory" in large


@pytest.fixture
def peers(tmp_path: Path) -> Path:
    (tmp_path / "run_pfl.py").write_text(PFL)
    (tmp_path / "run_plain.py").write_text(LOOP)
    return tmp_path


@pytest.mark.slow
def test_few_and_many_sites_run_and_the_peer_is_held_against_its_own_loop(peers: Path) -> None:
    data = run(few=2, sites=3, rounds=2, npz=None, peers=peers, python=Path(sys.executable))
    assert [each["sites"] for each in data["runs"]] == [2, 3]
    assert data["memory_ratio"] == pytest.approx(
        data["runs"][1]["rss_peak_bytes"] / data["runs"][0]["rss_peak_bytes"], rel=0.01
    )
    assert (data["pfl"]["plain_loop_s"], data["pfl"]["ratio"]) == (2.5, 1.2)
    console = Console(file=StringIO(), width=80)
    console.print(show(data))
    assert "pfl, 3" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_peer_that_fails_says_why(peers: Path) -> None:
    (peers / "run_pfl.py").write_text("raise SystemExit('no pfl here')")
    with pytest.raises(ResourceError) as caught:
        run(few=1, sites=1, rounds=1, npz=None, peers=peers, python=Path(sys.executable))
    assert "no pfl here" in caught.value.remedy


@pytest.mark.parametrize("words", [["--peers", "."], ["--peers", ".", "--pfl-python", sys.executable]])
def test_half_a_peer_is_refused_before_anything_runs(words: list[str]) -> None:
    done = CliRunner().invoke(bench.app, ["simulate", *words, "--json"], env=PLAIN)
    assert done.exit_code == ConfigError.exit_code
    assert json.loads(done.stdout)["error"]["code"] == "config"
