"""Buffered rounds in a real federation: a slow site holds up nobody, and no crash counts its work twice or never."""

import psutil
from live_federation import LiveFederation

from server.study_folder import StudyFolder

FAST = ("site-1", "site-2")
BUFFER = "buffer = 2\n"


def takes_part(federation: LiveFederation, folder: StudyFolder) -> None:
    """Wait until the site that is to be slow has counted once."""
    federation.reached(folder, commits=1)
    federation.until(lambda: any("site-3" in c.counted for c in federation.commits(folder)), "site-3 to count")


def late_work(federation: LiveFederation, folder: StudyFolder) -> list[dict]:
    """The admissions of late work."""
    return [e.data for e in federation.journal(folder) if e.type == "update_admitted" and e.data["late_from"]]


def once(federation: LiveFederation, folder: StudyFolder) -> None:
    """No update counted twice, and journal and ledger hold."""
    pending, counted = {}, []
    for entry in federation.journal(folder):
        if entry.type == "round_opened":
            pending = {}
        elif entry.type == "update_admitted":
            pending[entry.data["site"]] = entry.data["update_digest"]
        elif entry.type == "round_committed":
            counted += [(site, pending[site]) for site in entry.data["counted"]]
    assert len(counted) == len(set(counted))
    assert federation.journal_verdict(folder).ok
    assert federation.ledger_verdict("site-3").ok


def test_many_rounds_pass_over_the_work_of_a_site_that_stands_still(federation: LiveFederation) -> None:
    folder = federation.launch("buffered", rounds=20, quorum=2, extra=BUFFER)
    takes_part(federation, folder)
    worker = psutil.Process(federation.worker_pid("site-3"))
    worker.suspend()
    federation.reached(folder, commits=14)
    worker.resume()
    federation.finished(folder)
    commits = federation.commits(folder)
    assert [commit.counted for commit in commits if "site-3" in commit.late].count(FAST) >= 3
    work = late_work(federation, folder)
    assert any(late["round"] - late["late_from"] >= 5 for late in work)
    assert all(late["discount"] == (1 + late["round"] - late["late_from"]) ** -0.5 for late in work)
    assert federation.worker_pid("site-3") == worker.pid
    once(federation, folder)


def test_a_server_that_dies_over_the_work_of_a_slow_site(federation: LiveFederation) -> None:
    """It goes on with the others at once: the slow site need not open the study anew first."""
    folder = federation.launch("buffered-no-serverapp", rounds=20, quorum=2, extra=BUFFER)
    takes_part(federation, folder)
    worker = psutil.Process(federation.worker_pid("site-3"))
    worker.suspend()
    federation.reached(folder, commits=8)
    federation.kill(federation.serverapp_pid(folder))
    federation.reached(folder, commits=12)
    worker.resume()
    federation.finished(folder)
    work = late_work(federation, folder)
    assert any(late["late_from"] <= 8 and late["round"] >= 12 for late in work)
    assert sum(entry.type == "epoch_claimed" for entry in federation.journal(folder)) == 2
    once(federation, folder)
