"""A site that does not keep up: the rounds go on without it, say so, and count it again when it is back."""

import psutil
import pytest
from live_federation import LiveFederation


def test_a_site_whose_worker_stands_still_is_late_and_is_told(federation: LiveFederation) -> None:
    folder = federation.launch("one-stands-still", rounds=4, quorum=2, extra="grace_s = 1.0\n")
    federation.reached(folder, commits=1)
    psutil.Process(federation.worker_pid("site-3")).suspend()
    federation.finished(folder)
    commits = federation.commits(folder)
    late = [commit.round for commit in commits if commit.late == {"site-3": "asked"}]
    assert late
    assert all(commit.counted == ("site-1", "site-2") for commit in commits if commit.round in late)
    console = (federation.root / "logs" / "site-3.log").read_text()
    assert f"Round {late[0]} of one-stands-still closed without this site" in console


@pytest.mark.slow
def test_late_work_counts_in_a_later_round_if_the_study_says_so(federation: LiveFederation) -> None:
    folder = federation.launch("counts-late", rounds=7, quorum=2, extra='grace_s = 2.0\nlate = "next"\n')
    federation.reached(folder, commits=1)
    worker = psutil.Process(federation.worker_pid("site-3"))
    worker.suspend()
    federation.until(lambda: any(commit.late for commit in federation.commits(folder)), "a round without site-3")
    worker.resume()
    federation.finished(folder)
    commits = federation.commits(folder)
    missed = next(commit for commit in commits if commit.late == {"site-3": "asked"})
    (late,) = [e.data for e in federation.journal(folder) if e.type == "update_admitted" and e.data["late_from"]]
    assert (late["site"], late["late_from"]) == ("site-3", missed.round)
    assert late["discount"] == (1 + late["round"] - missed.round) ** -0.5
    assert "site-3" in commits[late["round"] - 1].counted
    assert federation.worker_pid("site-3") == worker.pid
    assert federation.journal_verdict(folder).ok
    assert federation.ledger_verdict("site-3").ok
