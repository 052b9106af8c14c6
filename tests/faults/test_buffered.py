"""Buffered rounds in a real federation: a slow site holds up nobody, and no crash counts its work twice or never."""

import psutil
from live_federation import LiveFederation, answer

from server.study_folder import StudyFolder, StudyState

FAST = ("site-1", "site-2")
ENDLESS = 1_000  # rounds: each test stops its study
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


def passes(federation: LiveFederation, folder: StudyFolder, *, rounds: int) -> int:
    """Wait until so many more rounds are committed; how many there are then."""
    goal = len(federation.commits(folder)) + rounds
    federation.reached(folder, commits=goal)
    return goal


def stopped_after_late_work(federation: LiveFederation, folder: StudyFolder, *, staleness: int, after: int) -> dict:
    """Stop the study when work so many rounds old has counted, however many rounds that took; its admission.

    `after` is the last round in which the site stood still: as it began, it may have been as late.
    """

    def old() -> list[dict]:
        late = [late for late in late_work(federation, folder) if late["round"] > after]
        return [late for late in late if late["round"] - late["late_from"] >= staleness]

    federation.until(old, "late work to be admitted")
    passes(federation, folder, rounds=1)
    answer("study", "stop", folder.name, "-f", federation.federation)
    federation.until(lambda: folder.standing().state is StudyState.STOPPED, "the study to stop")
    return old()[0]


def test_many_rounds_pass_over_the_work_of_a_site_that_stands_still(federation: LiveFederation) -> None:
    folder = federation.launch("buffered", rounds=ENDLESS, quorum=2, extra=BUFFER)
    takes_part(federation, folder)
    worker = psutil.Process(federation.worker_pid("site-3"))
    worker.suspend()
    after = passes(federation, folder, rounds=7)
    worker.resume()
    stopped_after_late_work(federation, folder, staleness=5, after=after)
    commits = federation.commits(folder)
    assert [commit.counted for commit in commits if "site-3" in commit.late].count(FAST) >= 3
    work = late_work(federation, folder)
    assert all(late["discount"] == (1 + late["round"] - late["late_from"]) ** -0.5 for late in work)
    assert federation.worker_pid("site-3") == worker.pid
    once(federation, folder)


def test_a_server_that_dies_over_the_work_of_a_slow_site(federation: LiveFederation) -> None:
    """It goes on with the others at once: the slow site need not open the study anew first."""
    folder = federation.launch("buffered-no-serverapp", rounds=ENDLESS, quorum=2, extra=BUFFER)
    takes_part(federation, folder)
    worker = psutil.Process(federation.worker_pid("site-3"))
    worker.suspend()
    before = passes(federation, folder, rounds=4)
    federation.kill(federation.serverapp_pid(folder))
    after = passes(federation, folder, rounds=4)
    worker.resume()
    late = stopped_after_late_work(federation, folder, staleness=4, after=after)
    assert late["late_from"] <= before < after < late["round"]
    assert sum(entry.type == "epoch_claimed" for entry in federation.journal(folder)) == 2
    once(federation, folder)
