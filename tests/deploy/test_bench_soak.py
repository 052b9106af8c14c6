"""The soak and the crowd: their lines and bounds, and one small run of each."""

import json
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.bench.crowd import idle_share
from deploy.bench.crowd import missed as missed_of_crowd
from deploy.bench.crowd import run as run_crowd
from deploy.bench.crowd import show as show_crowd
from deploy.bench.family import server_parts, site_parts
from deploy.bench.pictures import draw_sites
from deploy.bench.slopes import Sample, growth, settled, slope_per_100
from deploy.bench.soak import BOUNDS, Sampler, account, bounds, disk_of, missed, run, show
from deploy.local import LocalFederation

# ------------------------------------------------------------------ lines


@given(st.floats(-50, 50), st.floats(-1e9, 1e9), st.lists(st.integers(0, 2000), min_size=2, unique=True))
def test_the_slope_of_a_straight_line_is_found(slope: float, start: float, rounds: list[int]) -> None:
    values = [start + slope * number for number in rounds]
    assert slope_per_100(rounds, values) == pytest.approx(100 * slope, abs=1e-3)


@pytest.mark.parametrize("rounds", [[], [7], [7, 7, 7]])
def test_without_two_rounds_there_is_no_line(rounds: list[int]) -> None:
    assert slope_per_100(rounds, [1.0] * len(rounds)) is None


def samples(*, leak: int = 0, pid: int = 1) -> list[Sample]:
    """Ten rounds of warm-up that take a lot, then ninety that take `leak` bytes and a tenth of a thread each."""
    return [
        Sample(pid, number, 10**8 + 10**6 * min(number, 10) + leak * number, 7 + number % 2, 3 + number // 10)
        for number in range(101)
    ]


def test_what_is_taken_while_warming_up_is_no_growth() -> None:
    found = growth(settled(samples(leak=5000), warm_up=10))
    assert found["memory_per_100_rounds"] == pytest.approx(500_000)
    assert found["descriptors_per_100_rounds"] == pytest.approx(0, abs=0.05)
    assert found["threads_per_100_rounds"] == pytest.approx(10, abs=0.2)
    assert found["threads_at_end"] == 13


def test_of_a_part_that_was_replaced_the_last_process_counts() -> None:
    both = [*samples(leak=10**6, pid=1), *samples(pid=2)]
    assert growth(settled(both, warm_up=10))["memory_per_100_rounds"] == 0
    assert settled([], warm_up=10) == []


def sampled(part: str, taken: list[Sample], rest: int) -> dict[str, Any]:
    sampler = Sampler(dict, lambda: 0, lambda: {"kept": 0, "rest": 0})
    sampler.samples[part] = taken
    sampler.disk_samples = [(n, {"kept": 40_000 * n, "rest": rest * n}) for n in range(0, 101, 5)]
    return account(sampler, rounds=100) | {"sites": 2, "study_s": 12.5}


def test_a_leak_is_named_with_its_part_and_its_bound() -> None:
    data = sampled("serverapp", samples(leak=90_000), rest=40_000)
    memory, threads, disk = missed(data)
    assert "serverapp: memory grows by 9e+06" in memory
    assert "serverapp: threads grows by" in threads
    assert "4e+06 bytes per 100 rounds beside what is kept" in disk
    assert data["disk"]["kept_per_100_rounds"] == 4_000_000


def test_a_study_that_holds_still_misses_nothing_and_is_shown() -> None:
    still = [sample._replace(threads=3) for sample in samples()]
    data = sampled("site-1 agent", still, rest=0)
    assert list(missed(data)) == []
    console = Console(file=StringIO(), width=80)
    console.print(show(data))
    assert "site-1 agent" in console.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads(json.dumps(data)) == data


def test_a_long_study_is_held_to_the_bound_and_a_short_one_to_what_is_taken_once() -> None:
    assert bounds(800) == BOUNDS
    assert bounds(40)["memory"] == 12_500_000


# ------------------------------------------------------------------ what is read


def test_the_disk_is_counted_in_what_is_kept_and_the_rest(tmp_path: Path) -> None:
    for name, size in {
        "federation/studies/s/journal.jsonl": 5,
        "sites/a/ledger.jsonl": 7,
        "sites/a/spool/x": 11,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "images.npz").write_bytes(b"x" * 100)
    assert disk_of(tmp_path) == {"kept": 12, "rest": 11}


SUPERVISOR = "import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]])"
AGENT = """
import sys, time
from pathlib import Path
from client.jobs import ProbeJob
from client.worker_process import WorkerProcess
worker = WorkerProcess(Path(sys.argv[1]))
worker.submit(ProbeJob())
time.sleep(600)
"""


def test_the_parts_of_a_federation_are_found_by_their_commands(tmp_path: Path) -> None:
    federation = LocalFederation(tmp_path / "bed", draw_sites(tmp_path, {"a": 8}, seed=0))
    superlink = tmp_path / "flower-superlink"
    superlink.write_text("import time; time.sleep(600)")
    with federation:
        federation.start_command("server", [sys.executable, "-c", SUPERVISOR, str(superlink)])
        federation.start_command("a", [sys.executable, "-c", AGENT, str(federation.sites["a"])])
        federation.wait_for(lambda: "superlink" in server_parts(federation), patience_s=60, what="start")
        federation.wait_for(lambda: "a worker" in site_parts(federation), patience_s=60, what="start")
        server, site = server_parts(federation), site_parts(federation)
    assert server.keys() == {"supervisor", "superlink"}
    assert site.keys() == {"a agent", "a worker"}
    assert len({*server.values(), *site.values()}) == 4


def test_a_process_that_sleeps_takes_no_share_and_one_that_turns_does() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    turner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        assert idle_share(sleeper.pid, seconds=0.5) < idle_share(turner.pid, seconds=0.5)
    finally:
        for process in (sleeper, turner):
            process.kill()
            process.wait()


# ------------------------------------------------------------------ crowds


def crowd(idle: float) -> dict[str, Any]:
    peaks = {"superlink": 200_000_000, "serverapp": 100_000_000}
    figures = {"superlink_idle_percent": idle, "round_s": [3.25, 3.5], "memory_peak_bytes": peaks}
    return {"sites": 64, "method": "so", **figures}


def test_an_idle_server_that_is_busy_is_named() -> None:
    assert list(missed_of_crowd(crowd(9.0))) == []
    (sentence,) = missed_of_crowd(crowd(40.0))
    assert "40.0 % of a core while 64 sites wait" in sentence


def test_a_crowd_is_shown_in_80_columns() -> None:
    console = Console(file=StringIO(), width=80)
    console.print(show_crowd(crowd(9.0)))
    assert "3.2, 3.5 s" in console.file.getvalue()  # type: ignore[attr-defined]


# ------------------------------------------------------------------ runs


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_rounds_leave_every_process_as_it_was(tmp_path: Path) -> None:
    data = run(rounds=50, sites=4, keep=tmp_path / "kept")
    assert list(missed(data)) == []
    parts = {f"site-{number} {part}" for number in range(1, 5) for part in ("agent", "worker")}
    assert parts | {"supervisor", "superlink", "serverapp"} <= data["processes"].keys()
    assert all(found["samples"] > 5 and not found["replaced"] for found in data["processes"].values())
    assert data["disk"]["kept_per_100_rounds"] > 0
    assert (tmp_path / "kept" / "samples.json").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_crowd_waits_and_works() -> None:
    data = run_crowd(sites=3, rounds=3, idle_s=2.0)
    assert len(data["round_s"]) == 1
    assert data["superlink_idle_percent"] > 0
    assert min(data["memory_peak_bytes"].values()) > 10_000_000
    assert data["sites"] == 3
