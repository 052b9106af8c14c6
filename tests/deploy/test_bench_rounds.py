"""The benches of rounds and of memory: what they read off, what they promise, and one small run of each."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from client.imaging.npz import ArraySource
from client.imaging.vocabulary import Vocabulary
from client.jobs import OpenDone, OpenJob, ProbeDone, ProbeJob, RoundDone, RoundJob, ScoreJob
from deploy.bench.gauge import Gauge, Reading, rss_anon
from deploy.bench.light_site import LightWorker
from deploy.bench.memory import figures
from deploy.bench.memory import missed as missed_of_memory
from deploy.bench.memory import run as run_memory
from deploy.bench.noop import study_text, width_for, write_images
from deploy.bench.own_rounds import timed
from deploy.bench.rounds import missed, run, shares, show, summary
from server.launch import start_state
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateReady
from shared.study import parse_study
from shared.update import PackedFile, pack, table_of

DIGEST = "a" * 64


# ------------------------------------------------------------------ the study


@pytest.mark.parametrize("wanted", [200_000, 1_000_000, 5_000_000])
def test_the_width_gives_the_size_that_was_asked_for(wanted: int) -> None:
    study = parse_study(study_text("n", width=width_for(wanted), rounds=3, sites=2))
    assert abs(len(pack(start_state(study))) - wanted) < 2400  # one unit of width


def test_a_size_below_the_smallest_model_gives_the_smallest() -> None:
    assert width_for(1) == 8


def test_the_study_waits_for_all_sites_and_hardly_trains() -> None:
    study = parse_study(study_text("n", width=8, rounds=3, sites=5, steps=0, deadline_s=7))
    assert (study.rounds.count, study.rounds.quorum, study.rounds.deadline_s) == (3, 5, 7)
    assert study.training is not None
    assert study.training.steps_per_round == 0


def test_the_images_are_ones_that_a_site_reads(tmp_path: Path) -> None:
    write_images(tmp_path / "i.npz", seed=1)
    study = parse_study(study_text("n", width=8, rounds=1, sites=1))
    rows = list(ArraySource(tmp_path / "i.npz", vocabulary=Vocabulary(study.task, {}), salt=b"s" * 32).rows())
    assert len(rows) == 18
    assert len({row.split for row in rows}) == 3
    assert {row.set_aside for row in rows} == {None}


# ------------------------------------------------------------------ what is read off


def journal() -> Iterator[tuple[str, Record]]:
    """Four rounds; round 1 is slow, round 3 was opened twice."""
    at = {1: (0, 5), 2: (6, 7), 3: (8.5, 9), 4: (9.25, 11)}
    for number, (opened, committed) in at.items():
        yield stamp(opened), RoundOpened(round=number, epoch=1, model_digest=DIGEST, cohort=("a",))
        if number == 3:
            yield stamp(8.75), RoundOpened(round=3, epoch=2, model_digest=DIGEST, cohort=("a",))
        for site, seconds in (("a", 0.25), ("b", 0.5)):
            yield stamp(opened), ready(number, site, seconds)
        yield (
            stamp(committed),
            RoundCommitted(round=number, epoch=1, model_digest=DIGEST, previous_digest=DIGEST, counted=("a", "b")),
        )


def ready(number: int, site: str, seconds: float) -> UpdateReady:
    return UpdateReady(
        round=number,
        site=site,
        update_digest=DIGEST,
        update_bytes=1,
        examples=1,
        patients=1,
        steps=1,
        replayed=False,
        seconds={"score": 0.125, "train": seconds},
    )


def stamp(second: float) -> str:
    return f"2026-01-02T03:04:{second:06.3f}Z"


def test_the_journal_tells_the_seconds_of_the_middle_rounds() -> None:
    assert timed(journal()) == {"seconds": [2.5, 0.75], "to_commit_s": [1.0, 0.5], "work_s": [0.625, 0.625]}


def test_a_summary_has_median_and_range() -> None:
    assert summary([3.0, 1.0, 2.0]) == {"seconds": [3.0, 1.0, 2.0], "median_s": 2.0, "range_s": [1.0, 3.0]}


@pytest.mark.parametrize(("repetitions", "expected"), [(1, [1]), (2, [1, 1]), (5, [3, 2]), (6, [3, 3])])
def test_the_blocks_share_the_repetitions(repetitions: int, expected: list[int]) -> None:
    assert shares(repetitions) == expected


def measured(own: float, ratio: float | None, mb: int = 1) -> dict:
    size: dict = {"mb": mb, "model_bytes": 999_300, "own": summary([own]), "own_bfloat16": summary([own / 2])}
    if ratio is not None:
        size |= {"stock": summary([own * ratio]), "stock_ratio": ratio, "stock_ratio_bfloat16": 2 * ratio}
    return {"sites": 4, "work": "w", "sizes": [size]}


def test_the_aims_of_rounds_are_held_against_the_figures() -> None:
    assert missed(measured(0.3, 12.0)) == []
    assert missed(measured(0.3, None)) == []
    assert missed(measured(9.0, 1.0, mb=7)) == []  # a size without an aim
    slow, near = missed(measured(0.5, 9.0))
    assert "float32 took 0.5 s" in slow
    assert "9.0 times" in near
    assert [("bfloat16" in line) for line in missed(measured(0.9, 4.0))] == [False, False, True, True]


@pytest.mark.parametrize("ratio", [12.0, None])
def test_the_rounds_are_shown_in_80_columns(ratio: float | None) -> None:
    console = Console(width=80, file=StringIO())
    console.print(show(measured(0.3, ratio)))
    shown = console.file.getvalue()
    assert "1.00 MB" in shown
    assert "0.30 s" in shown
    assert ("24.0" in shown) == (ratio is not None)
    assert max(map(len, shown.splitlines())) <= 80


def held(sites: int, *, serverapp: float, superlink: int) -> dict:
    return {
        "sites": sites,
        "serverapp": {"idle_bytes": 100_000_000, "peak_bytes": 200_000_000},
        "superlink": {"idle_bytes": 100_000_000, "peak_bytes": superlink},
        "serverapp_models_above_idle": serverapp,
    }


def test_memory_is_told_per_site_and_as_a_ratio() -> None:
    found = figures([held(4, serverapp=1.0, superlink=100), held(16, serverapp=1.12, superlink=120)])
    assert found == {
        "serverapp_models_per_site": 0.01,
        "serverapp_models_above_idle": 1.12,
        "superlink_ratio": 1.2,
    }
    assert list(missed_of_memory(found)) == []
    one = figures([held(4, serverapp=1.0, superlink=100)])
    assert (one["serverapp_models_per_site"], one["superlink_ratio"]) == (None, None)
    assert list(missed_of_memory(one)) == []


def test_the_aims_of_memory_are_held_against_the_figures() -> None:
    found = figures([held(4, serverapp=1.0, superlink=100), held(16, serverapp=6.0, superlink=200)])
    assert len(list(missed_of_memory(found))) == 3


# ------------------------------------------------------------------ the gauge


def test_anonymous_memory_is_what_a_process_holds_for_itself() -> None:
    before = rss_anon(os.getpid())
    held_here = np.ones(50_000_000, np.uint8)
    after = rss_anon(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > 40_000_000
    del held_here


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert rss_anon(1, proc=tmp_path) is None
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "status").write_text("Name:\tkernel thread\n")
    assert rss_anon(2, proc=tmp_path) is None


def test_the_gauge_follows_a_process_that_comes_later(tmp_path: Path) -> None:
    process = tmp_path / "7"
    known: dict[str, int] = {}
    seen = threading.Event()

    def find() -> dict[str, int]:
        if known:
            seen.set()
        return known

    with Gauge(find, proc=tmp_path) as gauge:
        process.mkdir()
        (process / "status").write_text("RssAnon:\t      12 kB\n")
        known["server"] = 7
        assert seen.wait(30)
        deadline = time.monotonic() + 30
        while not gauge.readings and time.monotonic() < deadline:
            time.sleep(0.01)
    assert {(r.name, r.bytes) for r in gauge.readings} == {("server", 12 * 1024)}


def test_peaks_and_idle_readings_are_taken_on_their_side_of_a_time() -> None:
    gauge = Gauge(dict)
    gauge.readings = [Reading("a", at, size) for at, size in ((1, 9), (2, 3), (3, 8), (4, 5))]
    assert gauge.last("a", before=2.5) == 3
    assert gauge.peak("a", after=2.5) == 8
    assert gauge.peak("a", before=1.5) == 9
    assert gauge.last("a", before=0.5) == gauge.peak("b") == 0


# ------------------------------------------------------------------ light sites


def test_a_light_worker_answers_every_job_with_bytes_of_its_own(tmp_path: Path) -> None:
    study = parse_study(study_text("n", width=8, rounds=1, sites=1))
    state = start_state(study)
    model = tmp_path / "model"
    model.write_bytes(pack(state))
    digests = set()
    for seed in (1, 2):
        worker, out = LightWorker(seed), tmp_path / str(seed)
        out.mkdir()
        worker.submit(ProbeJob())
        worker.submit(OpenJob(study=study, tensors=table_of(state)))
        worker.submit(RoundJob(study=study, round=1, model=model, model_digest=DIGEST, out=out))
        worker.submit(ScoreJob(study=study, model=model, model_digest=DIGEST, splits=("validation",)))
        probed, opened, worked, scored = worker.listen(0)
        assert isinstance(probed, ProbeDone)
        assert isinstance(opened, OpenDone)
        assert isinstance(worked, RoundDone)
        assert isinstance(scored, RoundDone)
        update = out / "update.safetensors"
        assert PackedFile(update).table() == table_of(state)
        digests.add(update.read_bytes())
        assert worker.listen(0) == []
        assert not worker.crashed()
        worker.end()
    assert len(digests) == 2


# ------------------------------------------------------------------ small real runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rounds_are_timed_on_both_systems() -> None:
    found = run(sites=2, sizes_mb=(1,), repetitions=1)
    (size,) = found["sizes"]
    assert json.loads(json.dumps(found)) == found
    assert abs(size["model_bytes"] - 1_000_000) < 2400
    assert size["own"]["median_s"] > 0
    assert size["stock"]["median_s"] > 0
    assert [block["system"] for block in size["blocks"]] == ["own", "own_bfloat16", "stock"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_is_read_while_light_sites_run() -> None:
    found = run_memory(sites=(2,), model_mb=2, rounds=1)
    (only,) = found["runs"]
    for name in ("serverapp", "superlink"):
        assert 0 < only[name]["idle_bytes"] < only[name]["peak_bytes"]
    assert abs(only["model_bytes"] - 2_000_000) < 2400


@pytest.mark.slow
def test_light_sites_end_when_they_are_asked(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "deploy.bench.light_site"], cwd=tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
