"""A site that does not keep up: the rounds go on without it, say so, and count it again when it is back."""

import psutil
import pytest
from live_federation import LiveFederation, answer

from server.records import RoundCommitted
from server.study_folder import StudyFolder, StudyState

ENDLESS = 1_000  # rounds: the test stops its study


def missed(federation: LiveFederation, folder: StudyFolder) -> list[RoundCommitted]:
    """The rounds that closed before the slow site had answered."""
    return [commit for commit in federation.commits(folder) if commit.late == {"site-3": "asked"}]


def test_a_site_whose_worker_stands_still_is_late_and_is_told(federation: LiveFederation) -> None:
    folder = federation.launch("one-stands-still", rounds=ENDLESS, quorum=2, extra="grace_s = 1.0\n")
    federation.reached(folder, commits=1)
    psutil.Process(federation.worker_pid("site-3")).suspend()
    federation.until(lambda: missed(federation, folder), "a round without site-3")
    answer("study", "stop", folder.name, "-f", federation.federation)
    federation.until(lambda: folder.standing().state is StudyState.STOPPED, "the stop")
    late = missed(federation, folder)
    assert {commit.counted for commit in late} == {("site-1", "site-2")}
    console, said = federation.root / "logs" / "site-3.log", f"Round {late[0].round} of one-stands-still closed without"
    federation.until(lambda: f"{said} this site" in console.read_text(), "the site to be told")


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
