"""The worker's part of a rehearsal, on real images: what it finds, what it measures, and what it leaves alone."""

import dataclasses
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from lone_site import LoneSite, a_study

from client.checks.grounds import Grounds
from client.checks.work import look_at_device
from client.jobs import (
    UPDATE_FILE,
    Event,
    OpenJob,
    ProbeDone,
    ProbeJob,
    Progress,
    RehearseDone,
    RehearseJob,
    RoundDone,
    RoundJob,
)
from client.work.rehearsed_work import Watch, shortened, some
from client.work.workbench import Workbench
from client.worker_process import WorkerProcess
from server.launch import start_state
from shared.address import Stage
from shared.canonical import digest
from shared.rehearsal import Check, Code, Outcome
from shared.study import Study
from shared.update import PackedFile, pack, table_of
from shared.wire import Rehearse

SPLITS = ("train", "val", "test")
WELL = dict.fromkeys((Check.VERSION, Check.DEVICE, Check.IMAGES, Check.MEMORY, Check.WORK, Check.DISK), Code.PASS)


def a_site(root: Path, *, counts: tuple[int, int, int] = (16, 6, 4), classes: int = 2, device: str = "cpu") -> LoneSite:
    """A site with so many images for training, validation and test, of one class or of two."""
    site = LoneSite(root, validation_fraction=0.0)
    config = site.folder / "site.toml"
    config.write_text(config.read_text().replace("threads = 1", f'threads = 1\ndevice = "{device}"'))
    rng, arrays = np.random.default_rng(0), {}
    for split, count in zip(SPLITS, counts, strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % classes
    np.savez(site.folder / "images.npz", **arrays)
    return site


def job(site: LoneSite, study: Study | None = None) -> RehearseJob:
    study = study or a_study(model={"width": 8}, training={"epochs_per_round": 1, "batch_size": 8})
    state, out = start_state(study), site.folder / "out"
    out.mkdir(exist_ok=True)
    model = out / "incoming.safetensors"
    model.write_bytes(pack(state))
    return RehearseJob(
        study=study, tensors=table_of(state), model=model, model_digest=digest(model.read_bytes()), out=out
    )


def rehearsed(site: LoneSite, study: Study | None = None) -> RehearseDone:
    done = Workbench(site.folder).rehearse(job(site, study))
    site.close()
    return done


# ------------------------------------------------------------ what it finds


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_all_is_well_after_one_step_on_real_images(tmp_path: Path, device: str) -> None:
    site = a_site(tmp_path, device=device)
    done = rehearsed(site)
    assert done.findings == WELL
    assert done.worked is not None
    assert done.work_s is not None and done.work_s > 0
    assert (done.worked.counts.steps, done.worked.counts.examples) == (1, 16)
    assert [score.split for score in done.worked.scores] == ["validation"]
    assert done.survey is not None
    assert (done.survey.found, done.survey.used, done.survey.vendors) == (26, 26, {"unstated": 26})
    train = done.survey.splits["train"]
    assert done.survey.intensity == pytest.approx((0.05, 0.5, 0.95), abs=0.02)
    assert (train.patients, train.classes) == (16, {"opacity": 8, "negative": 8})
    assert PackedFile(site.folder / "out" / UPDATE_FILE).table() == job(site).tensors


def test_a_model_of_the_coordinators_making_has_no_say_in_what_is_found(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    asked = job(site)
    huge = {name: np.full_like(value, 1e38) for name, value in PackedFile(asked.model).items()}
    asked.model.write_bytes(pack(huge))  # finite, and its update would not be
    done = Workbench(site.folder).rehearse(asked)
    site.close()
    assert done.findings == WELL
    assert all(np.isfinite(value).all() for _, value in PackedFile(site.folder / "out" / UPDATE_FILE).items())


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"classes": 1}, Code.ONE_CLASS),
        ({"counts": (16, 0, 4)}, Code.NO_VALIDATION_PATIENTS),
    ],
)
def test_images_that_do_for_a_round_but_are_to_be_known(tmp_path: Path, how: dict[str, Any], code: Code) -> None:
    site = a_site(tmp_path, **how)
    done = rehearsed(site)
    assert done.findings == WELL | {Check.IMAGES: code}
    assert done.worked is not None


def test_volumes_with_masks_are_trained_and_scored_in_patches(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    rng, arrays = np.random.default_rng(0), {}
    for split in SPLITS:
        arrays[f"{split}_images"] = rng.integers(0, 255, (3, 16, 24, 24), dtype=np.uint8)
        arrays[f"{split}_masks"] = (arrays[f"{split}_images"] > 200).astype(np.uint8)
    np.savez(site.folder / "images.npz", **arrays)
    study = a_study(
        task={"kind": "segmentation", "classes": ["lesion"]},
        images={"size_px": 24, "slices": 16, "patch": {"size_px": 16, "slices": 8}},
        model={"name": "segresnet"},
        training={"steps_per_round": 1, "batch_size": 2},
    )
    done = rehearsed(site, study)
    assert done.findings == WELL
    assert done.worked is not None and done.worked.counts.steps == 1
    (score,) = done.worked.scores
    assert score.statistics["measured"] == (3,)


def test_no_patient_to_train_on(tmp_path: Path) -> None:
    done = rehearsed(a_site(tmp_path, counts=(0, 6, 4)))
    assert done.findings == {Check.DEVICE: Code.PASS, Check.IMAGES: Code.NO_TRAINING_PATIENTS}
    assert (done.worked, done.work_s) == (None, None)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    (site.folder / "images.npz").unlink()
    done = rehearsed(site)
    assert done.findings == {Check.DEVICE: Code.PASS, Check.IMAGES: Code.NOT_FOUND}
    assert done.said == "The array file does not exist. Correct data.file in site.toml."


def test_images_of_which_none_can_be_used(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    with np.load(site.folder / "images.npz") as arrays:
        np.savez(site.folder / "images.npz", **{k: v + 7 if k.endswith("labels") else v for k, v in arrays.items()})
    assert rehearsed(site).findings[Check.IMAGES] is Code.NONE_USABLE


def test_a_network_of_other_tensors(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    asked = job(site)
    done = Workbench(site.folder).rehearse(asked.model_copy(update={"tensors": asked.tensors[1:]}))
    assert done.findings[Check.VERSION] is Code.ANOTHER_VERSION
    site.close()


def test_a_round_without_a_step(tmp_path: Path) -> None:
    study = a_study(model={"width": 8, "norm": "batch"}, training={"epochs_per_round": 1, "batch_size": 8})
    done = rehearsed(a_site(tmp_path, counts=(1, 6, 4)), study)
    assert done.findings[Check.WORK] is Code.NO_STEP


def test_a_study_that_scores_takes_no_step_and_no_test_patient(tmp_path: Path) -> None:
    study = a_study(
        study={"name": "lungs", "kind": "evaluate"}, model={"width": 8, "start_sha256": "0" * 64}, training=None
    )
    done = rehearsed(a_site(tmp_path), study)
    assert done.findings == WELL
    assert done.worked is not None
    assert [score.split for score in done.worked.scores] == ["validation"]


@pytest.mark.parametrize("algorithm", ["fedavg", "fedbn", "scaffold", "fednova"])
def test_every_method_can_be_rehearsed(tmp_path: Path, algorithm: str) -> None:
    training = {"algorithm": algorithm, "steps_per_round": 50, "batch_size": 8, "momentum": 0.0}
    done = rehearsed(a_site(tmp_path), a_study(model={"width": 8}, training=training))
    assert done.findings == WELL


# ------------------------------------------------------------ what it measures


def test_a_round_by_the_clock_takes_what_the_clock_allows(tmp_path: Path) -> None:
    done = rehearsed(a_site(tmp_path), a_study(training={"seconds_per_round": 500, "batch_size": 8}))
    assert done.work_s is not None and done.work_s > 500


def test_more_steps_take_longer(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    bench = Workbench(site.folder)
    few, many = (
        bench.rehearse(job(site, a_study(training={"steps_per_round": steps, "batch_size": 8}))).work_s
        for steps in (10, 1_000_000)
    )
    assert few is not None and many is not None and many > few
    site.close()


def test_the_first_step_of_several_is_not_the_measure() -> None:
    watch = Watch(device=None, _marks=[100.0, 101.0, 103.0], _began=time.perf_counter() - 60.0)  # type: ignore[arg-type]
    times = watch.times(score_s=10.0)
    assert times.step_s == 1.5
    assert times.rest_s == pytest.approx(times.total_s - 10.0 - 4.5)
    watch._marks = [100.0]
    assert watch.times(score_s=10.0).step_s == pytest.approx(50.0, abs=5.0)


def test_a_study_is_shortened_in_its_steps_alone() -> None:
    for length in ({"epochs_per_round": 3}, {"steps_per_round": 9}, {"seconds_per_round": 5}):
        study = a_study(training={"batch_size": 8, **length})
        assert shortened(study, steps=1) == a_study(training={"batch_size": 8, "steps_per_round": 1})


def test_some_images_keep_their_patients(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    data = Workbench(site.folder)._data(a_study())
    few = some(dataclasses.replace(data.train, patients=data.train.patients[::-1].copy()), most=3)
    assert (len(few), few.patient_count, few.patients.tolist()) == (3, 3, [2, 1, 0])
    assert len(some(data.test, most=0)) == 0
    site.close()


# ------------------------------------------------------------ what it leaves alone


def test_a_study_that_is_open_comes_to_the_same_update(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    asked = job(site)
    study, bench, updates = asked.study, Workbench(site.folder), []
    for number in (1, 2):
        out = site.folder / f"round-{number}"
        out.mkdir()
        bench.open(OpenJob(study=study, tensors=asked.tensors))
        if number == 2:
            bench.rehearse(asked)
        work = RoundJob(study=study, round=1, model=asked.model, model_digest=asked.model_digest, out=out)
        bench.round(work, on_step=lambda steps, planned: None)
        updates.append((out / UPDATE_FILE).read_bytes())
    assert updates[0] == updates[1]
    site.close()


# ------------------------------------------------------------ a worker of its own process


def ended(worker: WorkerProcess, kind: type[ProbeDone | RehearseDone | RoundDone | Progress]) -> Event:
    """The worker's next word of a kind."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for event in worker.listen(0.5):
            if isinstance(event, kind):
                return event
        assert not worker.crashed()
    raise AssertionError("the worker did not answer")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="needs Linux")
def test_memory_that_is_too_small(tmp_path: Path) -> None:
    site = a_site(tmp_path, counts=(600, 6, 4))
    worker = WorkerProcess(site.folder)
    worker.submit(ProbeJob())
    ended(worker, ProbeDone)
    process = psutil.Process(worker.pid)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + (800 << 20), resource.RLIM_INFINITY))
    study = a_study(
        images={"size_px": 256}, model={"name": "resnet18"}, training={"steps_per_round": 1, "batch_size": 512}
    )
    worker.submit(job(site, study))
    try:
        done = ended(worker, RehearseDone)
    finally:
        worker.end()
    assert isinstance(done, RehearseDone)
    assert done.findings == {Check.DEVICE: Code.PASS, Check.IMAGES: Code.PASS, Check.MEMORY: Code.OUT_OF_MEMORY}
    site.close()


@pytest.mark.gpu
def test_a_worker_says_what_of_a_gpu_it_may_take(tmp_path: Path) -> None:
    site = a_site(tmp_path, device="cuda")
    config = site.folder / "site.toml"
    config.write_text(config.read_text().replace("threads = 1", "threads = 1\ngpu_memory_fraction = 0.125"))
    found = look_at_device(Grounds(site.folder))
    assert found.outcome is Outcome.PASS
    assert "The worker computes on cuda:0 (device = cuda in the configuration)" in found.what
    assert 0 < found.facts["free_bytes"] <= found.facts["bytes"] // 8
    site.close()


@pytest.mark.gpu
def test_a_worker_that_is_killed_on_a_gpu_leaves_it_free_and_the_next_one_makes_the_same_update(tmp_path: Path) -> None:
    site = a_site(tmp_path, device="cuda")
    training = {"steps_per_round": 3000, "batch_size": 8}
    asked, worker = job(site, a_study(model={"width": 8}, training=training)), WorkerProcess(site.folder)
    updates = []
    for killed in (True, False):
        work = RoundJob(study=asked.study, round=1, model=asked.model, model_digest=asked.model_digest, out=asked.out)
        worker.submit(work)
        if killed:
            ended(worker, Progress)
            psutil.Process(worker.pid).kill()
            while not worker.crashed():
                time.sleep(0.01)
            worker.submit(work)
        ended(worker, RoundDone)
        updates.append((asked.out / UPDATE_FILE).read_bytes())
        worker.end()
    assert updates[0] == updates[1]
    site.close()


PLANTED = """
import json, sys
for line in sys.stdin:
    event = {"event": "rehearsed", "findings": {"images": "pass"}, "worked": None, "work_s": 1.0, "note": "Mustermann"}
    print(json.dumps(event), flush=True)
"""


def test_a_planted_worker_that_says_more_is_not_heard(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    site.start(worker=WorkerProcess(site.folder, command=[sys.executable, "-c", PLANTED]))
    asked = job(site)
    site.coordinator.study = asked.study
    question = Rehearse(
        address=site.coordinator.address(Stage.REHEARSE, 0), study=asked.study, tensors=asked.tensors,
        model_digest=asked.model_digest, payload_bytes=asked.model.stat().st_size, sent_at=0.0,
    )  # fmt: skip
    site.tell(question, model=asked.model.read_bytes())
    deadline = time.monotonic() + 60
    while not site.answers and time.monotonic() < deadline:
        for event in site.hands.listen(0.2):
            site.answering.hear(event)
        if site.hands.crashed():
            site.answering.worker_died()
    assert site.answers[-1].findings == {Check.VERSION: Code.PASS, Check.CLOCK: Code.PASS, Check.WORK: Code.CRASHED}
    everything = b"".join(envelope for _, envelope, _ in site.line.sent) + (site.folder / "ledger.jsonl").read_bytes()
    assert b"Mustermann" not in everything
    site.close()
