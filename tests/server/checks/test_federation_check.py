"""`wardround federation check`: clean, with one thing broken at a time, and beside a server that runs."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_federation import LiveFederation, answer, wardround

from server.checks.folder import look_at_certificate
from server.checks.grounds import Grounds
from server.checks.registry import CHECKS
from server.engine.superlink import listening
from server.federation import create_federation
from server.membership.authority import AUTHORITY_DAYS
from server.membership.renewal import renew_server_certificate
from shared.loopback import ADDRESS, free_port
from shared.preflight import look_at

DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = int(time.time())
    return create_federation(tmp_path / "f", name="north", host=ADDRESS, fleet_port=free_port(), now=now).folder


def looked(folder: Path) -> tuple[int, dict[str, str | None]]:
    """The exit code, and each line's outcome."""
    done = wardround("federation", "check", folder, "--json")
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    assert all(line["remedy"] for line in data["lines"] if line["outcome"] in ("warn", "fix"))
    return done.exit_code, {line["check"]: line["outcome"] for line in data["lines"]}


def broken(found: dict[str, str | None]) -> list[str]:
    return [name for name, outcome in found.items() if outcome == "fix"]


def test_a_new_federation_is_ready_and_is_told_to_invite(folder: Path) -> None:
    code, found = looked(folder)
    assert (code, broken(found), found["roster"], found["port"]) == (0, [], "warn", "pass")
    shown = wardround("federation", "check", folder)
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "federation invite" in shown.stdout


def test_what_listens_of_a_running_federation_is_its_own_port_and_loopback(federation: LiveFederation) -> None:
    said = answer("federation", "check", federation.federation)
    found = {line["check"]: line for line in said["lines"]}
    assert "served now" in found["port"]["what"]
    assert (found["control"]["outcome"], found["control"]["what"]) == (
        "pass",
        "On loopback, and for the server's own account alone: who else calls is refused.",
    )
    assert len({port for _, port in listening(federation.federation / "run")}) >= 2  # the sites' and the inner one


# ------------------------------------------------------------------ broken


def an_open_key(folder: Path) -> None:
    (folder / "coordinator.key").chmod(0o644)


def an_unknown_name(folder: Path) -> None:
    file = folder / "federation.toml"
    file.write_text(file.read_text().replace(ADDRESS, "server.invalid"))


def another_certificate(folder: Path) -> None:
    other = create_federation(folder.parent / "g", name="g", host=ADDRESS, fleet_port=free_port(), now=int(time.time()))
    (folder / "server" / "certificate.pem").write_bytes(other.server_certificate.read_bytes())


@pytest.mark.parametrize(
    ("breaks", "line"), [(an_open_key, "keys"), (an_unknown_name, "name"), (another_certificate, "certificate")]
)
def test_what_is_broken_is_the_one_line_to_be_mended(folder: Path, breaks: Callable[[Path], None], line: str) -> None:
    breaks(folder)
    code, found = looked(folder)
    assert (code, broken(found)) == (1, [line])


def test_a_port_that_another_program_has(folder: Path) -> None:
    port = Grounds(folder).federation.settings.fleet_port
    with socket.create_server((ADDRESS, port)):
        code, found = looked(folder)
    assert (code, broken(found)) == (1, ["port"])


@pytest.mark.parametrize(("address", "said"), [(ADDRESS, "every account of this machine"), ("0.0.0.0", "listens at")])
def test_an_inner_door_that_is_open(folder: Path, address: str, said: str) -> None:
    """An older server's, which answers all who call; and one that listens to the network."""
    with an_inner_door(folder, address):
        done = wardround("federation", "check", folder, "--json")
    (line,) = (line for line in json.loads(done.stdout)["data"]["lines"] if line["outcome"] == "fix")
    assert (done.exit_code, line["check"]) == (1, "control")
    assert said in line["what"]


def test_the_health_port_that_was_asked_for_is_no_inner_door(folder: Path) -> None:
    port, file = free_port(), folder / "federation.toml"
    file.write_text(file.read_text() + f"\n[metrics]\ngrpc_port = {port}\n")
    with an_inner_door(folder, "0.0.0.0", port):
        code, found = looked(folder)
    assert (code, found["control"]) == (0, "pass")


def test_too_few_descriptors(folder: Path) -> None:
    with at_most_descriptors(512):
        code, found = looked(folder)
    assert (code, broken(found)) == (1, ["limits"])


@pytest.mark.parametrize(
    ("shift_days", "outcomes"),
    [
        (-56 * 365, {"clock": "fix"}),
        (-2, {"clock": "fix"}),
        (800, {"certificate": "warn"}),
        (900, {"certificate": "fix"}),
    ],
)
def test_the_clock_and_what_ends(folder: Path, shift_days: int, outcomes: dict[str, str]) -> None:
    grounds = Grounds(folder, clock=lambda: time.time() + shift_days * DAY_S)
    chosen = [check for check in CHECKS if check.name in ("keys", "federation", *outcomes)]
    found = {line.name: line.finding.outcome for line in look_at(chosen, grounds) if line.finding}
    assert {name: found[name] for name in outcomes} == outcomes


def test_what_is_to_be_done_about_an_end_is_the_command_that_does_it(folder: Path) -> None:
    end = int(time.time()) + (AUTHORITY_DAYS - 10) * DAY_S
    renew_server_certificate(folder, now=end)
    finding = look_at_certificate(Grounds(folder, clock=lambda: end))
    assert (
        "--authority" in (finding.remedy or "")
        and finding.facts["server_days_left"] == finding.facts["authority_days_left"]
    )


DOOR = """
import http.server, ssl, sys
door = http.server.HTTPServer((sys.argv[1], int(sys.argv[3])), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/certificate.pem", sys.argv[2] + "/key.pem")
door.socket = context.wrap_socket(door.socket, server_side=True)
print(flush=True)
door.serve_forever()
"""


@contextmanager
def an_inner_door(folder: Path, address: str, port: int = 0) -> Iterator[None]:
    """A process of the federation's SuperLink, by its mark, that asks nobody who he is."""
    process = subprocess.Popen(
        [sys.executable, "-c", DOOR, address, str(folder / "server"), str(port)],
        env=os.environ | {"WARDROUND_RUN": str((folder / "run").resolve())},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


@contextmanager
def at_most_descriptors(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
