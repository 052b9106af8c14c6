"""The supervisor's child: it starts with clear errors and leaves nothing behind."""

import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from unittest.mock import ANY

import psutil
import pytest
from flower_lab import Lab, issue, new_key, public_pem

from server.engine.flower_bundle import build_bundle
from server.engine.superlink import SuperLink
from server.engine.superlink_control import RunStatus
from shared.allocator import VARIABLES
from shared.errors import LinkError
from shared.loopback import free_port

SUPERVISOR = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from unittest.mock import ANY
from flower_lab import Lab
lab = Lab(Path({folder!r}))
print(lab.superlink.pid, flush=True)
time.sleep(600)
"""


def unstarted(folder: Path, **changes) -> SuperLink:
    issue(folder)
    files = {"certificate": folder / "server.pem", "key": folder / "server.key", "ca": folder / "ca.pem"}
    options = {"run": folder / "run", "host": "127.0.0.1", "port": free_port()} | files
    return SuperLink(**(options | changes))


def gone(pid: int, *, patience_s: float = 60.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def await_finished(superlink: SuperLink, run_id: int):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = superlink.run_status(run_id)
        if status.phase == "finished":
            return status
        time.sleep(0.1)
    raise AssertionError(status)


def test_a_key_is_registered_once(lab):
    key = new_key()
    node_id = lab.superlink.register(public_pem(key), "once")
    assert lab.superlink.register(public_pem(key), "once") == node_id
    assert lab.superlink.register(public_pem(new_key()), "other") != node_id


def test_a_key_that_is_taken_out_may_not_come_back(tmp_path):
    lab = Lab(tmp_path / "lab")
    try:
        stays, leaves = lab.visited("stays", tmp_path / "stays"), lab.visited("leaves", tmp_path / "leaves")
        lab.key("never here")
        for _ in range(2):  # who is out already is no trouble
            lab.superlink.keep_only({public_pem(stays).decode()})
        lab.link(stays, tmp_path / "stays").connect()
        with pytest.raises(LinkError):
            lab.link(leaves, tmp_path / "leaves").connect()
    finally:
        lab.close()


def test_what_is_no_key_is_refused(lab):
    with pytest.raises(LinkError, match="refused RegisterNode"):
        lab.superlink.register(b"no key", "site")


def test_a_run_that_cannot_load_its_app_has_failed(lab):
    status = await_finished(lab.superlink, lab.superlink.start_run({}, serverapp="no_such_module:app"))
    assert (status.phase, status.outcome) == ("finished", "failed")


def test_a_run_ends_with_its_superlink(tmp_path):
    lab = Lab(tmp_path)
    try:
        lab.superlink.start_run({}, serverapp="flower_sleeper:app")
        while not (asleep := [each for each in lab.superlink.children() if "serverapp" in each.name()]):
            time.sleep(0.05)
    finally:
        lab.close()
    assert all(gone(each.pid) for each in asleep)


def test_a_run_whose_serverapp_died_is_over_at_once(lab):
    run_id = lab.superlink.start_run({}, serverapp="flower_sleeper:app")
    while not (asleep := [each for each in lab.superlink.children() if "serverapp" in each.name()]):
        time.sleep(0.05)
    for each in asleep:
        each.kill()
    lab.superlink.stop_run(run_id)
    assert lab.superlink.run_status(run_id) == RunStatus("finished", "stopped", ANY)
    lab.superlink.stop_run(run_id)  # nothing more to do


def test_an_unknown_run_is_an_error(lab):
    with pytest.raises(LinkError):
        lab.superlink.run_status(12345)
    with pytest.raises(LinkError):
        lab.superlink.stop_run(12345)


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"Port {port} on 127.0.0.1") as caught:
            unstarted(tmp_path, port=port).start()
    assert "federation.toml" in caught.value.remedy


def test_unusable_certificates_are_named(tmp_path):
    other = issue(tmp_path / "other")
    for changes in ({"key": other / "server.key"}, {"certificate": tmp_path / "missing"}, {"ca": other / "server.key"}):
        superlink = unstarted(tmp_path / "mine", **changes)
        with pytest.raises(LinkError, match="certificate, key or CA"):
            superlink.start()
        assert not superlink.alive()
        assert superlink.children() == []


def test_calls_before_start_and_after_stop_are_errors(tmp_path):
    superlink = unstarted(tmp_path)
    with pytest.raises(LinkError, match="not running"):
        superlink.run_status(1)
    superlink.stop()
    assert superlink.pid is None


def test_a_killed_superlink_takes_its_serverapps_with_it_at_stop_and_starts_again(tmp_path):
    lab = Lab(tmp_path)
    try:
        puppet = lab.puppet({"site": lab.key("site")})
        orphan = psutil.Process(puppet.pid())
        os.kill(lab.superlink.pid, signal.SIGKILL)
        while lab.superlink.alive():
            time.sleep(0.01)
        puppet.close()
        lab.superlink.start()
        assert gone(orphan.pid)
        assert lab.superlink.alive()
        assert (tmp_path / "run" / "superlink.log").exists()
        assert (tmp_path / "run" / "superlink.log.1").exists()
    finally:
        lab.close()
    assert lab.superlink.children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a child to its parent's death")
def test_a_killed_supervisor_leaves_nothing(tmp_path):
    script = SUPERVISOR.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        pid = int(supervisor.stdout.readline())
        marked = {process.pid for process in SuperLink.children(unstarted(tmp_path / "x", run=tmp_path / "run"))}
        assert pid in marked
        assert len(marked) >= 2
        supervisor.kill()
    assert all(gone(each) for each in marked)


def test_every_child_is_quiet_and_lives_in_the_run_folder(lab):
    listening = set()
    for process in lab.superlink.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # the ServerApp of a test before, which is ending
            if not (variables := process.environ()):
                continue
            assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
            assert variables["FLWR_DISABLE_UPDATE_CHECK"] == "1"
            assert variables.items() >= VARIABLES.items()
            assert variables["FLWR_HOME"] == str(lab.folder / "run" / "flwr")
            listening |= {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    assert listening == {"127.0.0.1"}


def test_the_bundle_carries_no_code_and_no_value():
    fab = build_bundle({"study": "secret-name", "epoch": 3}, serverapp="server.app:app")
    assert fab == build_bundle({"study": "other", "epoch": 4}, serverapp="server.app:app")
    assert fab.hash_str == hashlib.sha256(fab.content).hexdigest()
    assert len(fab.content) < 2000
    with zipfile.ZipFile(io.BytesIO(fab.content)) as bundle:
        assert set(bundle.namelist()) == {"pyproject.toml", "README.md", ".info/CONTENT"}
        text = bundle.read("pyproject.toml").decode()
    assert 'serverapp = "server.app:app"' in text
    assert "secret-name" not in text
    assert json.dumps("") in text
