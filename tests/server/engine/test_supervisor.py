"""The supervisor keeps one SuperLink and its studies going, and leaves nothing behind."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from live_federation import wardround
from lone_site import a_study

from client.join import join
from deploy.local import wardround_command
from server.engine.supervisor import START_TRIES
from server.federation import create_federation, listen_address, load_federation
from server.launch import launch
from server.membership.enrolment import admit, invite, revoke
from server.owner import read_owner
from server.queue import waits_for_sites
from server.study_folder import StudyState
from shared.clock import utc_now
from shared.loopback import free_port

PATIENCE_S = 300.0  # five starts of a process, on a machine that does much else


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def nodes(folder: Path) -> dict[str, int]:
    try:
        return dict(json.loads((folder / "run" / "nodes.json").read_bytes()))
    except FileNotFoundError:
        return {}


def enrol(folder: Path, site: str, *, root: Path) -> None:
    now = int(time.time())
    admit(folder, join(invite(folder, site, now=now), root / site, now=now).read_bytes(), now=now)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    server = psutil.Process(process.pid)
    return [server, *server.children(recursive=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    create_federation(root / "ward", name="ward", host="127.0.0.1", fleet_port=free_port(), now=int(time.time()))
    enrol(root / "ward", "north", root=root)
    return root / "ward"


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder.parent / "log").open("wb") as log:
        process = subprocess.Popen([wardround_command(), "federation", "serve", str(folder)], stdout=log, stderr=log)
    until(lambda: nodes(folder), "the server starts")
    yield process
    left = family(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert psutil.wait_procs(left, timeout=PATIENCE_S)[1] == []
    assert nodes(folder) == {}
    with socket.socket() as probe:  # lines that were cut linger; a listener does not
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", load_federation(folder).settings.fleet_port))


def test_a_second_server_on_the_same_folder_is_refused(served: subprocess.Popen[bytes], folder: Path) -> None:
    second = subprocess.run(
        [wardround_command(), "federation", "serve", str(folder)], check=False, capture_output=True, text=True
    )
    assert second.returncode == 8
    assert "This federation is served already." in second.stderr
    assert "What to do" in second.stderr
    assert served.poll() is None


def test_a_site_that_is_admitted_meanwhile_may_connect(served: subprocess.Popen[bytes], folder: Path) -> None:
    before = nodes(folder)
    enrol(folder, "south", root=folder.parent)
    until(lambda: "south" in nodes(folder), "the new site is registered")
    assert nodes(folder)["north"] == before["north"]


def test_a_site_that_is_revoked_may_not_connect_any_more(served: subprocess.Popen[bytes], folder: Path) -> None:
    enrol(folder, "leaving", root=folder.parent)
    until(lambda: "leaving" in nodes(folder), "the new site is registered")
    revoke(folder, "leaving")
    until(lambda: "leaving" not in nodes(folder), "the site is taken out")
    assert "north" in nodes(folder)


def test_an_older_or_changed_roster_is_not_taken_up(served: subprocess.Popen[bytes], folder: Path) -> None:
    roster = folder / "roster.signed"
    enrol(folder, "cut-off", root=folder.parent)
    until(lambda: "cut-off" in nodes(folder), "the new site is registered")
    with_it = roster.read_bytes()
    revoke(folder, "cut-off")
    until(lambda: "cut-off" not in nodes(folder), "the site is taken out")
    without = roster.read_bytes()
    waiting = None
    for unsound in (with_it, without[:-1] + bytes([without[-1] ^ 1])):
        roster.write_bytes(unsound)
        waiting = waiting or launch(folder, a_study("waiting"), source="", start_model=None, now=utc_now())
        time.sleep(1.0)  # some looks
        assert "cut-off" not in nodes(folder)
        assert (waiting.standing().state, read_owner(waiting.path)) == (StudyState.QUEUED, None)
    roster.write_bytes(without)
    until(lambda: read_owner(waiting.path) is not None, "the study begins once the roster is sound again")
    enrol(folder, "later", root=folder.parent)
    until(lambda: "later" in nodes(folder), "a sound roster is taken up again")


def test_a_study_that_only_a_person_can_mend_fails_with_its_reason(
    served: subprocess.Popen[bytes], folder: Path
) -> None:
    study = launch(folder, a_study("gone", sites=("east",)), source="", start_model=None, now=utc_now())
    until(lambda: study.standing().state is StudyState.FAILED, "the study fails")
    assert "not on the roster: east" in str(study.standing().reason)
    assert study.standing().remedy


def test_a_study_that_waits_for_its_sites_holds_nobody_up(served: subprocess.Popen[bytes], folder: Path) -> None:
    """The site of this federation never connects."""
    first = launch(folder, a_study("first"), source="", start_model=None, now=utc_now())
    second = launch(folder, a_study("second"), source="", start_model=None, now=utc_now())
    for study in (first, second):
        until(lambda study=study: study.standing().state is StudyState.RUNNING, f"{study.name} is started")
    until(lambda: waits_for_sites(first.read_status()), "the first one waits")
    for study in (first, second):
        assert wardround("study", "stop", study.name, "-f", folder).exit_code == 0
        until(lambda study=study: study.standing().state is StudyState.STOPPED, f"{study.name} is stopped")


@pytest.mark.slow
def test_a_study_whose_process_dies_each_time_fails_and_can_be_tried_again(
    served: subprocess.Popen[bytes], folder: Path
) -> None:
    study = launch(folder, a_study("doomed"), source="", start_model=None, now=utc_now())
    (study.path / "spool").write_text("in the way of a folder")
    until(lambda: study.standing().state is StudyState.FAILED, "the study fails")
    assert f"ended {START_TRIES} times" in str(study.standing().reason)
    assert "FileExistsError" in (study.path / "log").read_text()
    (study.path / "spool").unlink()
    assert wardround("study", "resume", "doomed", "-f", folder, "--json").exit_code == 0
    until(lambda: study.standing().state is StudyState.RUNNING, "it is tried again")


@pytest.mark.parametrize(("host", "where"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("ward.example", "0.0.0.0")])
def test_a_federation_on_one_machine_does_not_listen_to_others(host: str, where: str) -> None:
    assert listen_address(host) == where
