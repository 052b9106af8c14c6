"""What is unusual at a site, as the coordinator sees it: a mark and a line, a line in the log, and no entry."""

from pathlib import Path

import pytest
import tiny_federation
from live_federation import answer, wardround

from deploy.provision import provision
from server.drift import FEWEST_ROUNDS
from server.federation import load_federation
from server.journal import Journal
from server.records import RoundCommitted, RoundOpened, StudyStarted, UpdateAdmitted, UpdateReady
from server.study_folder import StudyFolder, StudyState
from shared.clock import utc_now

SITES = ("a-hospital-with-a-very-long-name-by-the-seaside", "north", "south")
LAST = FEWEST_ROUNDS + 1


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A running study in whose last round one site took four times as long as it used to."""
    place = provision(tmp_path, name="f", host="127.0.0.1", fleet_port=9, sites=list(SITES), now=1_700_000_000)
    folder = tiny_federation.queue_study(place.federation, "slow", rounds=9, sites=3)
    key, digests = load_federation(place.federation).coordinator_key, [f"{n:064x}" for n in range(LAST + 1)]
    with Journal.open(folder.journal, key=key, clock=utc_now) as journal:
        journal.write(StudyStarted(study="slow", study_digest=digests[0], start_digest=digests[0], cohort=SITES))
        for number in range(1, LAST + 1):
            before, after = digests[number - 1 : number + 1]
            journal.write(RoundOpened(round=number, epoch=1, model_digest=before, cohort=SITES))
            for site in SITES:
                slow = 4.0 if (site, number) == (SITES[0], LAST) else 1.0
                said = {"round": number, "site": site, "update_digest": after, "examples": 10}
                work = {"update_bytes": 9, "patients": 10, "steps": 1, "replayed": False}
                journal.write(UpdateReady(**said, **work, seconds={"train": 20.0 * slow}))
                journal.write(UpdateAdmitted(**said, norm=1.0))
            models = {"model_digest": after, "previous_digest": before}
            journal.write(RoundCommitted(round=number, epoch=1, **models, counted=SITES))
    folder.move(StudyState.RUNNING, now=utc_now())
    seats = [{"site": s, "phase": "asked", "online": True, "seconds": 3.0, "cause": None} for s in SITES]
    view = {"stage": "train", "round": LAST + 1, "rounds": 9, "committed": LAST, "closes_in_s": 30.0}
    folder.write_status(view | {"sites": seats, "updated": utc_now()})
    return folder


def test_the_status_marks_the_site_and_says_what_to_ask(study: StudyFolder) -> None:
    words = ("study", "status", "slow", "-f", study.path.parents[1])
    (found,) = answer(*words)["unusual"]
    assert (found["site"], found["figure"], found["since"], found["alike"]) == (SITES[0], "seconds", LAST, False)
    assert (found["value"], found["usual"]) == (80.0, pytest.approx(20.0))
    shown = wardround(*words).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("working ~") == 1
    said = " ".join(shown.split())
    assert f"~ unusual {SITES[0]}: training time 1 min 20 s, usually 20.0 s, in round {LAST}." in said
    assert "Ask it whether its machine or disk is shared" in said


def test_the_log_tells_it_under_the_round_and_without_an_entry(study: StudyFolder) -> None:
    words = ("study", "log", "slow", "-f", study.path.parents[1])
    said = answer(*words)
    told = [entry for entry in said["entries"] if entry["unusual"]]
    assert [(entry["type"], entry["round"]) for entry in told] == [("round_committed", LAST)]
    lines = wardround(*words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    after = next(n for n, line in enumerate(lines) if f"~ {SITES[0]}: unusual" in line)
    assert f"r{LAST} the round is committed" in lines[after - 3]  # of three lines, for the name is long


def test_nothing_is_called_by_another_word(study: StudyFolder) -> None:
    shown = wardround("study", "status", "slow", "-f", study.path.parents[1]).stdout.lower()
    assert not any(word in shown for word in ("malicious", "outlier", "suspicious", "bad"))


def test_once_the_study_has_ended_the_report_tells_it(study: StudyFolder) -> None:
    study.move(StudyState.STOPPED, now=utc_now())
    words = ("study", "status", "slow", "-f", study.path.parents[1])
    assert len(answer(*words)["unusual"]) == 1
    assert "unusual" not in wardround(*words).stdout
