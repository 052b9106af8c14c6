"""A private study through the whole engine: it finishes, and of the data nothing leaves but noised updates."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from live_federation import answer, wardround
from memory_ward import MemoryWard, as_flower_process

from client.imaging.settings import DataSettings
from client.spool import STATE_FILE
from deploy.audit.budget_words import budget_data
from deploy.audit.spending import spent
from deploy.audit.vocabulary import unknown_in
from server.journal import read_history
from server.study_folder import StudyFolder
from shared.ledger import read_entries
from shared.privacy import Mechanism, epsilon_of
from shared.update import PackedFile

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


class Ran(NamedTuple):
    """A ward and the private study that ended there."""

    ward: MemoryWard
    folder: StudyFolder


@pytest.fixture
def ward(tmp_path: Path) -> MemoryWard:
    return two_sites(tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One study for all tests that only read what it left."""
    ward = two_sites(tmp_path_factory.mktemp("private"))
    with pytest.MonkeyPatch.context() as patch:
        as_flower_process(patch)
        return Ran(ward, ward.run(text()))


def two_sites(root: Path) -> MemoryWard:
    """Two sites; one has four times the patients, of three images each."""
    data = {}
    for name, patients in (("east", 13), ("west", 52)):
        rng, count = np.random.default_rng(patients), 3 * patients
        labels = np.repeat(np.arange(patients) % 2, 3)
        pixels = (rng.integers(0, 60, (count, 16, 16)) + 80 * labels[:, None, None]).astype(np.uint8)
        split = np.repeat(np.array(["train"] * (patients - 6) + ["val"] * 3 + ["test"] * 3), 3)
        names = np.repeat([f"{name}-{n}" for n in range(patients)], 3)
        np.savez(root / f"{name}.npz", images=pixels, labels=labels, patient=names, split=split)
        data[name] = DataSettings(kind="npz", file=root / f"{name}.npz")
    return MemoryWard(root / "ward", data)


def text(name: str = "private", privacy: str = "") -> str:
    return STUDY.format(name=name, privacy=privacy)


def said(folder: StudyFolder) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.type, entry.data) for entry in read_entries(folder.path / "journal.jsonl")]


def test_nothing_that_follows_from_the_data_is_in_the_journal(ran: Ran) -> None:
    folder = ran.folder
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


def test_a_private_study_in_bfloat16_costs_the_same_and_keeps_what_rounding_took(ward: MemoryWard) -> None:
    ward.run(text() + '[transfer]\nupdate_dtype = "bfloat16"\n')
    for place in ward.sites.values():
        entries = list(read_entries(place / "ledger.jsonl"))
        charged = [(e.data["clip_norm"], e.data["noise_multiplier"]) for e in entries if e.type == "privacy_spent"]
        assert charged == [(1, 1)] * 2
        assert (spent(entries).uncovered, spent(entries).understated()) == ([], [])
        kept = PackedFile(place / "spool" / "private" / "round-000002" / STATE_FILE)
        assert np.abs(kept.tensor("residual/head.weight")).max() > 0


def test_every_site_weighs_alike(ran: Ran) -> None:
    admitted = [data for kind, data in said(ran.folder) if kind == "update_admitted"]
    assert {(data["examples"], data["discount"]) for data in admitted} == {(1, 1)}
    assert [len(commit.counted) for commit in read_history(ran.folder.journal).commits] == [2, 2]


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
    for place in ward.sites.values():  # the auditor is told of what no charge covers
        found = spent(read_entries(place / "ledger.jsonl"))
        assert {one.field for one in found.uncovered} == {"scores.test"}


def test_each_round_is_charged_before_its_update_leaves(ran: Ran) -> None:
    for place in ran.ward.sites.values():
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
            assert list(unknown_in(entry)) == []
        found = spent(entries)
        assert (found.uncovered, found.understated(), len(found.studies["private"].updates)) == ([], [], 2)
        assert budget_data(found, delta=1e-6)["epsilon"] == pytest.approx(epsilon(2), rel=0.01)


# ------------------------------------------------------------------ what the coordinator reads


def epsilon(rounds: int) -> float:
    mechanism = Mechanism(noise_multiplier=1.0, sampling_rate=0.3, images_per_patient=2, steps=3 * rounds)
    return epsilon_of([mechanism], delta=1e-6)


def test_a_study_says_before_it_starts_what_it_costs_and_withholds(tmp_path: Path) -> None:
    path = tmp_path / "private.toml"
    path.write_text(text())
    said = answer("study", "check", path)
    assert said["privacy"] == {"unit": "patient", "epsilon": 0.0, "planned_epsilon": epsilon(2), "delta": 1e-6}
    words = " ".join(said["explained"])
    assert f"at most epsilon {epsilon(2) + 0.005:.2f} at delta 1e-06" in words
    assert "30 of 100, 90 of 300, 300 of 1000" in words
    assert "Withheld are all scores, counts of images and patients, and durations" in words
    path.write_text(text(privacy='test_scores = "released"'))
    released = " ".join(answer("study", "check", path)["explained"])
    assert "Withheld are validation scores" in released
    assert "scored once on test patients" in released


def test_a_private_study_is_not_rehearsed(ward: MemoryWard, tmp_path: Path) -> None:
    path = tmp_path / "private.toml"
    path.write_text(text())
    refused = wardround("study", "rehearse", path, "--federation", ward.federation)
    assert refused.exit_code == 7
    assert "trains privately, so it cannot be rehearsed" in " ".join(refused.output.split())


def test_status_log_report_and_replay_of_a_private_study(ran: Ran) -> None:
    folder, place = ran.folder, ("--federation", ran.ward.federation)
    cost = answer("study", "status", "private", *place)["progress"]["privacy"]
    assert (cost["epsilon"], cost["planned_epsilon"]) == (epsilon(2), epsilon(2))
    shown = " ".join(wardround("study", "status", "private", *place).stdout.split())
    assert "privacy epsilon" in shown
    assert "validation withheld" in shown
    log = wardround("study", "log", "private", *place).stdout
    assert "east opens; patients: withheld" in log
    assert "east is ready: 3 steps" in log
    answer("study", "report", "private", *place)
    page = (folder.path / "report.html").read_text()
    assert "2 rounds of private training at 2 sites" in page
    assert "scores are withheld" in page
    assert f"privacy.epsilon,{epsilon(2)}" in (folder.path / "report.csv").read_text()
    answer("study", "report", "private", "--letters", *place)
    refused = wardround("study", "replay", "private", *place)
    assert refused.exit_code == 7
    assert "trains privately, so nobody can repeat it" in " ".join(refused.output.split())


def test_a_private_study_stands_beside_one_that_is_not(ward: MemoryWard) -> None:
    ward.run(text(privacy='test_scores = "released"'))
    plain = text("plain").split("[privacy]", maxsplit=1)[0] + "[rounds]\ncount = 2\nquorum = 2\ndeadline_s = 600\n"
    ward.run(plain)
    found = answer("study", "compare", "private", "plain", "--federation", ward.federation)
    assert found["a"]["patients"] is None
    assert found["b"]["patients"] == 53
    assert found["a"]["test"]["value"] is not None
    assert found["a"]["validation"]["value"] is None
