"""What the coordinator types: write a study, check it, launch it, follow it, stop it."""

import fcntl
import json
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tiny_federation
from live_federation import STUDY, CalmStudy, LiveFederation, answer, wardround

from deploy.bench.small_disk import small_disk, why_not
from deploy.local import wardround_command
from deploy.provision import provision
from server.cli.waiting import QUIET_S
from server.federation import is_served
from server.study_folder import StudyFolder, StudyState


def refused(*words: object) -> tuple[int, str]:
    done = wardround(*words, "--json")
    return done.exit_code, json.loads(done.stdout)["error"]["what"]


def test_a_new_study_file_can_be_checked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "My_First.toml"
    assert answer("study", "new", path)["study"] == "my-first"
    said = answer("study", "check", path)
    assert said["study"] == "my-first"
    assert any("never an image" in line for line in said["explained"])
    assert refused("study", "new", path)[0] == 3


def test_a_file_whose_name_no_study_can_have_is_named(tmp_path: Path) -> None:
    code, what = refused("study", "new", tmp_path / "Meine Studie.toml")
    assert (code, what) == (3, "'Meine Studie.toml' cannot name a study.")
    assert not list(tmp_path.iterdir())


def test_a_study_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[study\n")
    code, what = refused("study", "check", path)
    assert code == 3
    assert what.startswith(f"{path}: The study file is not valid TOML")


def test_a_launch_from_another_folder_says_how_the_federation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer("study", "new", "s.toml")
    said = json.loads(wardround("study", "launch", "s.toml", "--json").stdout)["error"]
    assert said["what"] == "This folder is not a federation folder."
    assert "--federation" in said["remedy"]


def test_a_study_file_with_an_unknown_key_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(STUDY.format(name="s", rounds=1, steps=1, quorum=1) + "\n[extra]\n")
    code, what = refused("study", "check", path)
    assert code == 3
    assert "extra: unknown key; known here: " in what


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [("fednova", "how far its optimiser went"), ("fedbn", "stay at each site"), ("scaffold", "control variates")],
)
def test_a_method_is_explained(tmp_path: Path, algorithm: str, words: str) -> None:
    path = tmp_path / "s.toml"
    text = STUDY.format(name="s", rounds=1, steps=1, quorum=1).replace('norm = "none"', 'norm = "group"')
    path.write_text(text.replace("[training]", f'[training]\nmomentum = 0.0\nalgorithm = "{algorithm}"'))
    assert sum(words in line for line in answer("study", "check", path)["explained"]) == 1


def test_a_method_is_advised_from_label_counts(tmp_path: Path) -> None:
    path, labels = tmp_path / "s.toml", tmp_path / "labels.toml"
    path.write_text(STUDY.format(name="s", rounds=1, steps=1, quorum=1))
    assert answer("study", "check", path)["advised"] is None
    labels.write_text("[ward-a]\nyes = 90\nno = 10\n[ward-b]\nyes = 10\nno = 90\n")
    said = answer("study", "check", path, "--labels", labels)
    assert said["advised"]["training"]["algorithm"] == "scaffold"
    assert any(line.startswith("Advised for these sites: algorithm = scaffold") for line in said["explained"])
    labels.write_text("[ward-a]\nyes = 90\n")
    assert refused("study", "check", path, "--labels", labels)[0] == 3


def test_the_servers_move_is_explained_with_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    text = STUDY.format(name="s", rounds=1, steps=1, quorum=1)
    path.write_text(text + '\n[server]\noptimizer = "fedyogi"\ntau = 0.01\n')
    said = answer("study", "check", path)["explained"]
    assert any("by fedyogi (learning rate 0.01, beta 1 0.9, beta 2 0.99, tau 0.01)" in line for line in said)
    path.write_text(text + "\n[server]\nmomentum = 0.9\n")
    assert "fedavg takes learning_rate; it has no momentum" in refused("study", "check", path)[1]


def test_a_study_is_listed_and_shown(federation: LiveFederation, calm_study: CalmStudy) -> None:
    listed = {
        study["study"]: study["state"] for study in answer("study", "list", "-f", federation.federation)["studies"]
    }
    assert listed["calm"] == "finished"
    said = answer("study", "status", "calm", "-f", federation.federation)
    assert (said["state"], said["committed"], said["rounds"]) == ("finished", 3, 3)
    for words in (("list",), ("status", "calm"), ("watch", "calm")):
        shown = wardround("study", *words, "-f", federation.federation)
        assert shown.exit_code == 0
        assert "finished" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_report_is_one_file_that_needs_no_network(federation: LiveFederation, calm_study: CalmStudy) -> None:
    path = Path(answer("study", "report", "calm", "-f", federation.federation)["report"])
    text = path.read_text()
    assert "calm" in text
    assert 'src="http' not in text
    assert 'href="http' not in text


@pytest.mark.parametrize(("verb", "code"), [("stop", 7), ("resume", 7)])
def test_a_finished_study_is_neither_stopped_nor_resumed(
    federation: LiveFederation, calm_study: CalmStudy, verb: str, code: int
) -> None:
    assert refused("study", verb, "calm", "-f", federation.federation)[0] == code


def test_a_name_is_used_once(federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(STUDY.format(name="calm", rounds=1, steps=1, quorum=1))
    code, what = refused("study", "launch", path, "-f", federation.federation)
    assert (code, what) == (7, "A study named calm exists already.")


def test_a_study_that_is_not_there_is_answered_with_those_that_are(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    done = wardround("study", "status", "no-such", "-f", federation.federation, "--json")
    assert done.exit_code == 7
    assert "calm" in json.loads(done.stdout)["error"]["remedy"]


# ------------------------------------------------------------------ nobody serves


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def unserved(tmp_path: Path) -> StudyFolder:
    """A study of a federation that nobody serves, queued long ago."""
    place = provision(tmp_path, name="f", host="127.0.0.1", fleet_port=9, sites=["a"], now=1_700_000_000)
    folder = tiny_federation.queue_study(place.federation, "still", rounds=1, sites=1)
    folder.move(StudyState.QUEUED, now=ago(QUIET_S + 5))
    return folder


def seen(folder: StudyFolder) -> tuple[list[str], str]:
    """What to do, as a program and as a person are told."""
    words = ("study", "status", folder.name, "-f", folder.path.parents[1])
    return [wait["do"] for wait in answer(*words)["waits"]], " ".join(wardround(*words).stdout.split())


def test_a_queued_study_says_why_it_waits(unserved: StudyFolder) -> None:
    waits, shown = seen(unserved)
    assert waits == [f"Run: {shlex.join(['wardround', 'federation', 'serve', str(unserved.path.parents[1])])}"]
    assert "waits nobody serves the federation, for " in shown
    unserved.move(StudyState.QUEUED, now=ago(0))
    assert seen(unserved)[0] == []  # just queued


def test_a_study_that_waits_for_room_on_the_disk_says_so(unserved: StudyFolder, tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with small_disk(tmp_path / "full", mib=1):  # a study wants more than that free
        full = StudyFolder(shutil.copytree(unserved.path.parents[1], tmp_path / "full" / "f") / "studies" / "still")
        full.move(StudyState.QUEUED, now=ago(0))
        waits, shown = seen(full)
    assert waits == ["Make room on the disk under the federation; it then goes on."]
    assert "waits the server's disk is full, for " in shown


def test_a_dead_server_is_not_shown_as_running(unserved: StudyFolder) -> None:
    unserved.move(StudyState.RUNNING, now=ago(100))
    seat = {"site": "a", "phase": "asked", "online": True, "seconds": 3.0, "cause": None}
    unserved.write_status({"stage": "train", "round": 1, "sites": [seat], "updated": ago(QUIET_S + 5)})
    waits, shown = seen(unserved)
    assert len(waits) == 1
    assert "working" not in shown
    listed = wardround("study", "list", "-f", unserved.path.parents[1]).stdout
    assert "still nobody serves the federation" in " ".join(listed.split())
    unserved.write_status({"stage": "train", "round": 1, "sites": [seat], "updated": ago(1)})
    assert seen(unserved)[0] == []  # Flower's simulation has no server of ours
    assert "a working" in seen(unserved)[1]


def test_what_runs_is_shown_on_80_columns(unserved: StudyFolder) -> None:
    """Per site what it does and for how long, and one line for each that waits."""
    unserved.move(StudyState.RUNNING, now=ago(100))
    seats = [
        {"site": "north", "phase": "asked", "online": True, "seconds": 75.0, "cause": None},
        {"site": "a-hospital-with-a-very-long-name-by-the-seaside", "phase": "waiting", "online": False}
        | {"seconds": 130.0, "cause": None},
        {"site": "west", "phase": "lost", "online": False, "seconds": 20.0, "cause": "line_lost"},
        {"site": "east", "phase": "asked", "state": "silent", "online": False, "last_sign_s": 41.0}
        | {"seconds": 90.0, "cause": None},
        {"site": "south", "phase": "admitted", "state": "silent", "online": False, "last_sign_s": 50.0}
        | {"seconds": 60.0, "cause": None},
    ]
    view = {"stage": "train", "round": 2, "rounds": 4, "committed": 1, "closes_in_s": 30.0, "sent_bytes": 2_000_000}
    unserved.write_status(view | {"sites": seats, "updated": ago(0)})
    said = answer("study", "status", "still", "-f", unserved.path.parents[1])
    assert [wait["why"].split(" is ")[1] for wait in said["waits"]] == ["not connected", "not connected", "silent"]
    assert [wait["since_s"] for wait in said["waits"]] == [130.0, 20.0, 41.0]
    shown = wardround("study", "status", "still", "-f", unserved.path.parents[1]).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "round 2 of 4, closes in 30.0 s at the latest" in shown
    assert "0 B received, 2.0 MB sent" in shown
    assert "east silent 1 min 30 s 41.0 s ago" in " ".join(shown.split())
    assert "south done 1 min 00 s 50.0 s ago" in " ".join(shown.split())
    assert "1 min 15 s" in shown


def test_who_holds_the_lock_serves(unserved: StudyFolder) -> None:
    federation = unserved.path.parents[1]
    assert not is_served(federation)
    with (federation / "run" / "serve.lock").open("w") as lock:
        assert not is_served(federation)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_served(federation)
        assert seen(unserved)[0] == []


def test_watch_says_once_that_nobody_serves(unserved: StudyFolder) -> None:
    words = ["study", "watch", "still", "-f", str(unserved.path.parents[1])]
    with subprocess.Popen([wardround_command(), *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as watching:
        assert watching.stderr is not None
        said = watching.stderr.readline() + watching.stderr.readline()
        assert "nobody serves" in " ".join(said.decode().split())
        unserved.move(StudyState.STOPPED, now=ago(0))
        assert watching.wait(60) == 0
        assert "nobody serves" not in watching.stderr.read().decode()


def test_the_command_that_follows_a_launch_can_be_typed(unserved: StudyFolder, tmp_path: Path) -> None:
    path, federation = tmp_path / "next.toml", unserved.path.parents[1]
    path.write_text(STUDY.format(name="next", rounds=1, steps=1, quorum=1))
    shown = wardround("study", "launch", path, "-f", federation).stdout
    assert f"wardround study watch next -f {federation}" in "".join(shown.split("\n")).replace("  ", " ")


def test_a_new_study_needs_a_folder(tmp_path: Path) -> None:
    assert refused("study", "new", tmp_path / "nowhere" / "s.toml")[0] == 3


@pytest.mark.parametrize("file", ["state.json", "study.json"])
def test_a_damaged_study_is_listed_as_such_and_hides_no_other(unserved: StudyFolder, file: str) -> None:
    federation = unserved.path.parents[1]
    shutil.copytree(unserved.path, unserved.path.with_name("whole"))
    (unserved.path / file).write_bytes(b"")
    listed = {study["study"]: study for study in answer("study", "list", "-f", federation)["studies"]}
    assert listed["whole"]["state"] == "queued"
    assert listed[unserved.name]["state"] == "unreadable"
    assert listed[unserved.name]["waits"][0]["do"].startswith("Restore its folder from backup")
    assert wardround("study", "list", "-f", federation).exit_code == 0


def test_a_folder_that_is_no_federation_is_said_to_be_none(tmp_path: Path) -> None:
    for words in (("list",), ("status", "x"), ("watch", "x"), ("log", "x")):
        code, what = refused("study", *words, "-f", tmp_path)
        assert (code, "is not a federation folder" in what) == (3, True)


def test_a_file_without_an_end_is_no_study_file() -> None:
    assert "too large for a study file" in refused("study", "check", "/dev/zero")[1]
