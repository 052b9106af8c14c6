"""A private study through the whole engine: it finishes, and of the data nothing leaves but noised updates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_ward import MemoryWard

from client.imaging.settings import DataSettings
from server.journal import read_history
from server.study_folder import StudyFolder
from shared.ledger import read_entries

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "{name}"
seed = 5
[task]
classes = ["bright"]
[images]
size_px = 16
augment = "light"
[model]
width = 8
[training]
batch_size = 8
steps_per_round = 3
momentum = 0.5
learning_rate = 0.1
[privacy]
noise_multiplier = 1.0
sampling_rate = 0.3
patients_per_step = 6
images_per_patient = 2
{privacy}
[rounds]
count = 2
quorum = 2
deadline_s = 600
"""


@pytest.fixture
def ward(tmp_path: Path) -> MemoryWard:
    """Two sites; one has four times the patients, of three images each."""
    data = {}
    for name, patients in (("east", 13), ("west", 52)):
        rng, count = np.random.default_rng(patients), 3 * patients
        labels = np.repeat(np.arange(patients) % 2, 3)
        pixels = (rng.integers(0, 60, (count, 16, 16)) + 80 * labels[:, None, None]).astype(np.uint8)
        split = np.repeat(np.array(["train"] * (patients - 6) + ["val"] * 3 + ["test"] * 3), 3)
        names = np.repeat([f"{name}-{n}" for n in range(patients)], 3)
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=labels, patient=names, split=split)
        data[name] = DataSettings(kind="npz", file=tmp_path / f"{name}.npz")
    return MemoryWard(tmp_path / "ward", data)


def text(name: str = "private", privacy: str = "") -> str:
    return STUDY.format(name=name, privacy=privacy)


def said(folder: StudyFolder) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.type, entry.data) for entry in read_entries(folder.path / "journal.jsonl")]


def test_nothing_that_follows_from_the_data_is_in_the_journal(ward: MemoryWard) -> None:
    folder = ward.run(text())
    about_sites = {"site_opened", "update_ready", "update_admitted", "site_scored"}
    entries = [(kind, data) for kind, data in said(folder) if kind in about_sites]
    assert {kind for kind, _ in entries} == about_sites
    public = {"site", "round", "update_digest", "norm", "contract_digest", "software"}
    alike: dict[str, set[str]] = {}
    for kind, data in entries:  # two sites that differ fourfold say the same, but for what is noised or signed
        alike.setdefault(kind, set()).add(
            json.dumps({k: v for k, v in data.items() if k not in public}, sort_keys=True)
        )
    assert {kind: len(seen) for kind, seen in alike.items()} == dict.fromkeys(about_sites, 1)
    history = read_history(folder.journal)
    assert [
        ready.model_dump(include={"examples", "patients", "steps", "scores", "seconds"}) for ready in history.readies
    ] == [{"examples": 0, "patients": 0, "steps": 3, "scores": (), "seconds": {}}] * 4
    assert all(not scored.scores for scored in history.scored.values())
    assert all(not opened.patients and not opened.examples for opened in history.opened.values())


def test_every_site_weighs_alike(ward: MemoryWard) -> None:
    folder = ward.run(text())
    admitted = [data for kind, data in said(folder) if kind == "update_admitted"]
    assert {(data["examples"], data["discount"]) for data in admitted} == {(1, 1)}
    assert [len(commit.counted) for commit in read_history(folder.journal).commits] == [2, 2]


def test_a_second_run_draws_other_noise(ward: MemoryWard) -> None:
    one, other = ward.run(text("one")), ward.run(text("other"))
    starts = {read_history(folder.journal).started.start_digest for folder in (one, other)}  # type: ignore[union-attr]
    assert len(starts) == 1
    assert ward.model_digest(one) != ward.model_digest(other)


def test_test_scores_leave_if_that_was_agreed_and_no_others(ward: MemoryWard) -> None:
    folder = ward.run(text(privacy='test_scores = "released"'))
    history = read_history(folder.journal)
    assert {site: [score.split for score in scored.scores] for site, scored in history.scored.items()} == {
        "east": ["test"],
        "west": ["test"],
    }
    assert all(not ready.scores for ready in history.readies)


def test_each_round_is_charged_before_its_update_leaves(ward: MemoryWard) -> None:
    ward.run(text())
    for place in ward.sites.values():
        entries = list(read_entries(place / "ledger.jsonl"))
        charged = [entry for entry in entries if entry.type == "privacy_spent"]
        assert [entry.data["round"] for entry in charged] == [1, 2]
        for entry in charged:
            left = next(
                e
                for e in entries
                if e.type == "release" and e.data["stage"] == "train" and e.data["round"] == entry.data["round"]
            )
            assert entry.n < left.n
            fields = {"noise_multiplier": 1, "sampling_rate": 0.3, "steps": 3, "images_per_patient": 2}
            assert {name: entry.data[name] for name in fields} == fields
            assert (entry.data["clip_norm"], entry.data["delta"]) == (1, 1e-6)
