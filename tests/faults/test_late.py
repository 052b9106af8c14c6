"""A site that does not keep up: the rounds go on without it, say so, and count it again when it is back."""

import psutil
from live_federation import LiveFederation


def test_a_site_whose_worker_stands_still_is_late_and_counts_again(federation: LiveFederation) -> None:
    folder = federation.launch("one-stands-still", rounds=7, quorum=2, extra="grace_s = 6.0\n")
    federation.reached(folder, commits=1)
    psutil.Process(federation.worker_pid("site-3")).suspend()
    federation.finished(folder)
    commits = federation.commits(folder)
    late = [commit.round for commit in commits if commit.late == {"site-3": "asked"}]
    assert late
    assert all(commit.counted == ("site-1", "site-2") for commit in commits if commit.round in late)
    assert commits[-1].counted == ("site-1", "site-2", "site-3")
    console = (federation.root / "logs" / "site-3.log").read_text()
    assert f"Round {late[0]} of one-stands-still closed without this site" in console
