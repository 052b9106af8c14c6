"""A whole study over the real engine: what is counted, what is written down, and where it agrees."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_federation
from live_federation import PATIENCE_S, CalmStudy, LiveFederation

from server.checkpoint import Checkpoints
from server.study_folder import StudyState
from shared.canonical import digest
from shared.update import PackedFile

ROUNDS, SITES = 3, ("site-1", "site-2", "site-3")


def test_every_round_counts_every_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    commits = federation.commits(calm_study.folder)
    assert [(commit.round, commit.counted) for commit in commits] == [(n, SITES) for n in range(1, ROUNDS + 1)]
    assert calm_study.folder.standing().state is StudyState.FINISHED


def test_the_models_form_one_chain_and_the_last_one_is_on_disk(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    commits = federation.commits(calm_study.folder)
    before = [digest((calm_study.folder.path / "models" / "start.safetensors").read_bytes())]
    before += [commit.model_digest for commit in commits[:-1]]
    assert [commit.previous_digest for commit in commits] == before
    assert commits[-1].model_digest == calm_study.digest
    assert digest((calm_study.folder.path / "model.safetensors").read_bytes()) == calm_study.digest
    assert Checkpoints(calm_study.folder.path / "models").latest_sound().model_digest == calm_study.digest


def test_training_changed_the_model(calm_study: CalmStudy) -> None:
    start = dict(PackedFile(calm_study.folder.path / "models" / "start.safetensors").items())
    final = dict(PackedFile(calm_study.folder.path / "model.safetensors").items())
    assert start.keys() == final.keys()
    assert any((start[name] != final[name]).any() for name in start)


def test_each_update_that_counted_left_its_site_with_the_same_digest(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    admitted = [(e.data["site"], e.data["round"], e.data["update_digest"])
                for e in federation.journal(calm_study.folder) if e.type == "update_admitted"]  # fmt: skip
    left = [
        (site, entry["round"], entry["update_digest"])
        for site in SITES
        for entry in federation.ledger(site, "release", "calm")
        if entry["update_digest"]
    ]
    assert sorted(admitted) == sorted(left)
    assert len(left) == ROUNDS * len(SITES)


def test_each_site_holds_a_receipt_for_each_update(federation: LiveFederation, calm_study: CalmStudy) -> None:
    models = {commit.round: commit.model_digest for commit in federation.commits(calm_study.folder)}
    for site in SITES:
        receipts = federation.ledger(site, "receipt", "calm")
        assert [(r["round"], r["outcome"]) for r in receipts] == [(n, "counted") for n in range(1, ROUNDS + 1)]
        assert {r["round"]: r["model_digest"] for r in receipts} == models


def test_ledgers_and_journal_hold(federation: LiveFederation, calm_study: CalmStudy) -> None:
    verdict = federation.journal_verdict(calm_study.folder)
    assert (verdict.ok, verdict.reason) == (True, "")
    for site in SITES:
        verdict = federation.ledger_verdict(site)
        assert (verdict.ok, verdict.reason) == (True, "")


def test_the_journal_anchors_each_sites_ledger(federation: LiveFederation, calm_study: CalmStudy) -> None:
    from shared.ledger import read_entries

    heads = {e.data["site"]: e.data["head"] for e in federation.journal(calm_study.folder) if e.type == "site_closed"}
    assert sorted(heads) == list(SITES)
    for site in SITES:
        assert heads[site] in {entry.hash for entry in read_entries(federation.sites[site] / "ledger.jsonl")}


def test_both_sides_agree_and_so_does_what_the_line_counted(
    federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path
) -> None:
    from live_federation import answer

    from client.evidence import export_ledger

    ledgers = [export_ledger(federation.sites[site], tmp_path / site).files[0] for site in SITES]
    roster = federation.federation / "roster.signed"
    said = answer("audit", "reconcile", calm_study.folder.journal, *ledgers, "--key", roster)
    assert (said["agrees"], said["open_points"], said["missing_ledgers"]) == (True, [], [])
    for site in SITES:
        counted = federation.ledger(site, "traffic", "calm")[0]
        assert counted["bytes"] > sum(one["received"] for one in said["sites"] if one["site"] == site) > 0


def scored_splits(said: dict[str, Any]) -> list[str]:
    """The splits that a site scored, told or withheld: a hospital tells nothing of few patients."""
    return [score["split"] for score in said["scores"]] + said["withheld"]


def test_test_patients_are_scored_once_on_the_final_model(federation: LiveFederation, calm_study: CalmStudy) -> None:
    entries = federation.journal(calm_study.folder)
    closing = [e.data for e in entries if e.type == "site_scored"]
    assert sorted(said["site"] for said in closing) == list(SITES)
    assert {said["model_digest"] for said in closing} == {calm_study.digest}
    assert all(scored_splits(said) == ["validation", "test"] for said in closing)
    rounds = [scored_splits(e.data) for e in entries if e.type == "update_ready"]
    assert rounds and all(splits == ["validation"] for splits in rounds)


@pytest.mark.slow
def test_the_same_study_gives_the_same_bytes(federation: LiveFederation, calm_study: CalmStudy) -> None:
    """Stopped after its first round and resumed, under another owner."""
    from live_federation import answer

    folder = federation.launch("stopped")
    federation.reached(folder, commits=1)
    answer("study", "stop", "stopped", "-f", federation.federation)
    federation.until(lambda: folder.standing().state is StudyState.STOPPED, "the stop")
    assert len(federation.commits(folder)) < ROUNDS
    answer("study", "resume", "stopped", "-f", federation.federation)
    assert federation.finished(folder) == calm_study.digest
    assert [commit.counted for commit in federation.commits(folder)] == [SITES] * ROUNDS


# ------------------------------------------------------------------ when the owner is killed

OWNER = """
import sys, time
from pathlib import Path
import tiny_federation
from deploy.local import LocalFederation
root = Path(sys.argv[1])
with LocalFederation(root / "f", tiny_federation.images(root, ["a"]), device="cpu") as local:
    local.serve()
    local.start_site("a")
    status = local.sites["a"] / "status.json"
    local.wait_for(status.exists, patience_s=90, what="start the site")
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    mark = f"owner-{os.getpid()}-{number.value}"
    here = Path(__file__).parents[1]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"WARDROUND_TEST": mark, "PYTHONPATH": str(here)},
    )
    assert owner.stdout is not None
    with owner.stdout as line:
        assert line.readline() == b"up\n"
    assert len(tiny_federation.marked(mark)) >= 4  # the owner, the server with its SuperLink, the site
    owner.send_signal(number)
    assert owner.wait(PATIENCE_S) == (-number if number == signal.SIGKILL else 128 + number)
    left = tiny_federation.marked(mark)
    _, alive = psutil.wait_procs(left, timeout=PATIENCE_S)
    for process in alive:
        process.kill()
    assert alive == []
