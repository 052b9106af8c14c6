"""Any process may die at any moment: the study goes on, nothing counts twice, the model is the same."""

import contextlib
from collections import Counter

import psutil
import pytest
from live_federation import PATIENCE_S, CalmStudy, LiveFederation

from client.jobs import STATE_FILE
from server.journal import read_history
from server.study_folder import StudyFolder

SITES = ("site-1", "site-2", "site-3")


def holds(federation: LiveFederation, folder: StudyFolder, calm: CalmStudy) -> None:
    """The study ends as if nothing had happened, and its journal and ledgers say so."""
    assert federation.finished(folder) == calm.digest
    commits = federation.commits(folder)
    assert [(commit.round, commit.counted) for commit in commits] == [(n, SITES) for n in (1, 2, 3)]
    released = Counter(
        (site, entry["round"], entry["update_digest"])
        for site in SITES
        for entry in federation.ledger(site, "release", folder.name)
        if entry["update_digest"]
    )
    assert len({(site, number) for site, number, _ in released}) == len(released) == 9
    assert federation.journal_verdict(folder).ok
    assert all(federation.ledger_verdict(site).ok for site in SITES)


def test_the_serverapp(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = federation.launch("no-serverapp")
    federation.reached(folder, commits=1)
    federation.kill(federation.serverapp_pid(folder))
    holds(federation, folder, calm_study)
    assert sum(entry.type == "epoch_claimed" for entry in federation.journal(folder)) == 2


def test_a_worker(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = federation.launch("no-worker")
    federation.reached(folder, commits=1)
    federation.kill(federation.worker_pid("site-2"))
    holds(federation, folder, calm_study)


def test_a_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = federation.launch("no-agent")
    federation.reached(folder, commits=1)
    worker = psutil.Process(federation.worker_pid("site-3"))
    federation.kill(federation.processes["site-3"].pid)
    federation.processes.pop("site-3").wait()
    federation.start_site("site-3")
    assert psutil.wait_procs([worker], timeout=PATIENCE_S)[1] == []
    holds(federation, folder, calm_study)


def test_the_superlink(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = federation.launch("no-superlink")
    federation.reached(folder, commits=1)
    orphans = [psutil.Process(federation.serverapp_pid(folder))]
    federation.kill(federation.superlink_pid())
    holds(federation, folder, calm_study)
    assert psutil.wait_procs(orphans, timeout=PATIENCE_S)[1] == []


@pytest.mark.slow
def test_the_serverapp_of_an_optimizer_that_remembers(federation: LiveFederation) -> None:
    adam = '\n[server]\noptimizer = "fedadam"\n'
    calm = federation.launch("calm-adam", extra=adam)
    model = federation.finished(calm)
    killed = federation.launch("no-adam", extra=adam)
    federation.reached(killed, commits=1)
    federation.kill(federation.serverapp_pid(killed))
    assert federation.finished(killed) == model
    assert sum(entry.type == "epoch_claimed" for entry in federation.journal(killed)) == 2
    moments = [(folder.path / "models" / "round-00003.moments").read_bytes() for folder in (calm, killed)]
    assert moments[0] == moments[1]


@pytest.mark.slow
def test_the_serverapp_as_it_chooses_the_final_model(federation: LiveFederation) -> None:
    """Before the last model is scored for that, and between the choice and the closing trip."""
    asked = '\n[selection]\nmodel = "best"\nmetric = "loss"\n'
    calm = federation.launch("calm-choice", extra=asked)
    model, chosen = federation.finished(calm), read_history(calm.journal).chosen
    assert chosen is not None
    killed = federation.launch("no-choice", extra=asked)
    for moment in ("training_ended", "model_chosen"):
        federation.wrote(killed, moment)
        with contextlib.suppress(psutil.NoSuchProcess):  # it was faster than this test
            federation.kill(federation.serverapp_pid(killed))
    assert federation.finished(killed) == model
    assert read_history(killed.journal).chosen == chosen
    assert federation.journal_verdict(killed).ok
    for site in SITES:
        tested = [e for e in federation.ledger(site, "release", killed.name) if e["stage"] == "evaluate"]
        assert {(entry["round"], entry["scored_model"]) for entry in tested} == {(5, model)}


@pytest.mark.slow
def test_whoever_holds_the_state_of_a_method(federation: LiveFederation) -> None:
    """SCAFFOLD's variates at the sites and at the server come out the same, whoever died in between."""
    scaffold = 'momentum = 0.0\nalgorithm = "scaffold"'
    calm = federation.launch("calm-state", rounds=4, training=scaffold)
    model = federation.finished(calm)
    killed = federation.launch("no-state", rounds=4, training=scaffold)
    federation.reached(killed, commits=1)
    federation.kill(federation.worker_pid("site-1"))
    federation.reached(killed, commits=2)
    federation.kill(federation.processes["site-2"].pid)
    federation.processes.pop("site-2").wait()
    federation.start_site("site-2")
    federation.reached(killed, commits=3)
    federation.kill(federation.serverapp_pid(killed))
    assert federation.finished(killed) == model
    assert [commit.counted for commit in federation.commits(killed)] == [SITES] * 4
    for site in SITES:
        spools = [federation.sites[site] / "spool" / folder.name for folder in (calm, killed)]
        states = [list(spool.glob(f"round-*/{STATE_FILE}")) for spool in spools]
        assert [[path.parent.name for path in paths] for paths in states] == [["round-000004"]] * 2
        assert states[0][0].read_bytes() == states[1][0].read_bytes()


@pytest.mark.slow
def test_a_superlink_that_is_asked_to_end_as_a_study_is_launched(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    psutil.Process(federation.superlink_pid()).terminate()
    holds(federation, federation.launch("as-it-ends"), calm_study)
