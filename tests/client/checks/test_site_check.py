"""`wardround site check` at a real federation: clean, and with one thing broken at a time."""

import fcntl
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_federation import PLAIN, STUDY, LiveFederation, wardround

from client.admission import FILE_NAME as ADMISSION
from client.imaging.settings import DataSettings
from client.settings import FILE_NAME, load_settings, write_settings
from deploy.bench.relay import rerouted
from deploy.local import wardround_command
from server.membership.authority import certificate_pem, issue_authority, issue_server
from shared.keys import make_transport_key, save_key
from shared.loopback import ADDRESS, free_port

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture
def ward(federation: LiveFederation, tmp_path: Path) -> Iterator[Path]:
    """A copy of a connected site's folder, held as its agent holds it, so that nobody says good-bye for the agent."""
    folder, site = tmp_path / "ward", federation.sites["site-1"]
    folder.mkdir(mode=0o700)
    for name in ("keys", "link"):
        shutil.copytree(site / name, folder / name)
    for name in ("invitation.json", FILE_NAME):
        shutil.copy(site / name, folder / name)
    with (folder / "agent.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(name="tried", steps=2, rounds=2, quorum=3))
    return file


def looked(folder: Path, *words: object) -> tuple[int, dict[str, Any]]:
    """The exit code, and the answer's data."""
    done = wardround("site", "check", "--config", folder / FILE_NAME, *words, "--json")
    said = json.loads(done.stdout)
    assert said["schema"] == "wardround.site.check"
    assert said["ok"] is (done.exit_code == 0)
    return done.exit_code, said["data"]


def lines(data: dict[str, Any], outcome: str | None) -> dict[str, dict[str, Any]]:
    return {line["check"]: line for line in data["lines"] if line["outcome"] == outcome}


def dial(live: LiveFederation, folder: Path, port: int) -> None:
    """Let the site's admission name another port of the server."""
    (folder / ADMISSION).write_bytes(rerouted(live.federation, "site-1", port))


# ------------------------------------------------------------------ clean


def test_a_sound_site_is_ready_and_is_told_what_would_leave(ward: Path, study: Path) -> None:
    before = {path for path in ward.rglob("*") if "cache" not in path.parts}
    code, data = looked(ward, "--study", study, "--idle", "1", "--baseline")
    assert (code, data["ready"]) == (0, True), data
    assert lines(data, "fix") == lines(data, None) == {}
    assert {"device", "roster", "clock", "speed", "idle line", "images", "dry run"} <= {
        line["check"] for line in data["lines"]
    }
    dry = lines(data, "pass")["dry run"]
    assert "nothing left" in dry["what"]
    assert dry["facts"]["round_s"] > 0
    assert lines(data, "pass")["baseline"]["facts"]["auroc"] > 0.5  # of bright squares and dark ones, after four steps
    assert any("update of 10 tensors" in words for words in data["would_leave"])
    after = {path for path in ward.rglob("*") if "cache" not in path.parts} - before
    after = {path for path in after if path.name != "logs" and path.parent.name != "logs"}
    assert {path.name for path in after} <= {"worker.log", "patients.key"}  # no ledger, no spool, no trace of the step


def test_the_page_is_read_on_80_columns(ward: Path) -> None:
    (ward / "keys" / "identity.pem").chmod(0o640)
    with (ward / FILE_NAME).open("a") as file:
        file.write("\n[network]\nproxy = 1\n")
    done = wardround("site", "check", "--config", ward / FILE_NAME)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "chmod 600" in " ".join(done.stdout.split())
    assert "network: unknown key" in " ".join(done.stdout.split())
    assert "To be mended first: site.toml, keys." in " ".join(done.output.split())


# ------------------------------------------------------------------ broken


def a_blocked_port(ward: Path, federation: LiveFederation) -> tuple[object, ...]:
    dial(federation, ward, free_port())
    return ()


def a_key_that_others_may_read(ward: Path, federation: LiveFederation) -> tuple[object, ...]:
    (ward / "keys" / "transport.pem").chmod(0o644)
    return ()


def a_key_that_nobody_admitted(ward: Path, federation: LiveFederation) -> tuple[object, ...]:
    save_key(ward / "keys" / "transport.pem", make_transport_key())
    (ward / "link" / "link.json").unlink()
    return ()


def a_missing_label_column(ward: Path, federation: LiveFederation) -> tuple[object, ...]:
    (ward / "images").mkdir()
    (ward / "labels.csv").write_text("file,patient,verdict\na.png,P1,opacity\n")
    settings = load_settings(ward / FILE_NAME)
    data = DataSettings(kind="pictures", folder=Path("images"), labels=Path("labels.csv"))
    (ward / FILE_NAME).unlink()
    write_settings(ward / FILE_NAME, settings.model_copy(update={"data": data}))
    file = ward / "study.toml"
    file.write_text(STUDY.format(name="tried", steps=2, rounds=2, quorum=3))
    return ("--study", file)


@pytest.mark.parametrize(
    ("breaks", "line", "remedy"),
    [
        (a_blocked_port, "port", "firewall"),
        (a_key_that_others_may_read, "keys", "chmod 600"),
        (a_key_that_nobody_admitted, "roster", "admit"),
        (a_missing_label_column, "labels", ""),
    ],
)
def test_what_is_broken_is_the_one_line_to_be_mended(
    ward: Path, federation: LiveFederation, breaks: Callable[..., tuple[object, ...]], line: str, remedy: str
) -> None:
    code, data = looked(ward, *breaks(ward, federation))
    found = lines(data, "fix")
    assert (code, list(found)) == (1, [line]), data
    assert found[line]["remedy"]
    assert remedy in found[line]["remedy"]
    if line == "labels":
        assert "column `label`" in found[line]["what"]


def test_a_foreign_authority_is_named_with_what_to_ask_for(ward: Path, federation: LiveFederation) -> None:
    with shows("Zscaler Intermediate", ward.parent) as port:
        dial(federation, ward, port)
        code, data = looked(ward)
    found = lines(data, "fix")
    assert (code, list(found)) == (1, ["certificate"]), data
    assert "Zscaler Intermediate CA" in found["certificate"]["what"]
    assert "have it leave this line alone" in found["certificate"]["remedy"]
    assert {"roster", "clock", "speed"} <= lines(data, None).keys()


def test_a_full_disk(ward: Path) -> None:
    cache = ward / "cache"
    cache.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", cache], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        code, data = looked(ward)
    finally:
        subprocess.run(["umount", cache], check=True)
    found = lines(data, "fix")
    assert (code, list(found)) == (1, ["disk"]), data
    assert "Make room" in found["disk"]["remedy"]


def test_a_clock_that_is_a_minute_ahead(ward: Path) -> None:
    if FAKETIME is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have libfaketime")
        pytest.skip("no libfaketime here: apt-get install libfaketime")
    done = subprocess.run(
        [wardround_command(), "site", "check", "--config", ward / FILE_NAME, "--json"],
        env=PLAIN | {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+60s"},
        capture_output=True,
        text=True,
        check=False,
    )
    data = json.loads(done.stdout)["data"]
    found = lines(data, "fix")
    assert (done.returncode, list(found)) == (1, ["clock"]), data
    assert found["clock"]["facts"]["behind_s"] == pytest.approx(-60, abs=10)  # a slow call shifts it
    assert "NTP" in found["clock"]["remedy"]


@contextmanager
def shows(name: str, folder: Path) -> Iterator[int]:
    """A TLS server on loopback whose certificate another authority issued; its port."""
    now, authority_key, key = int(time.time()), make_transport_key(), make_transport_key()
    authority = issue_authority(authority_key, name=name, now=now)
    certificate = issue_server(authority, authority_key, key.public_key(), host=ADDRESS, now=now)
    (folder / "foreign.pem").write_bytes(certificate_pem(certificate))
    save_key(folder / "foreign.key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "foreign.pem", folder / "foreign.key")
    with socket.create_server((ADDRESS, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    try:
                        context.wrap_socket(line, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
