"""The drill's parts that need no network, and the drill itself."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drill import guides
from drill.__main__ import left
from drill.broken import Broken
from drill.guides import MATRIX, ROOT, Command, promised
from drill.network import Crossing, namespaces, why_not
from drill.story import PORT, fingerprint
from drill.verdict import missed

COMMANDS = {name: value for name, value in vars(guides).items() if isinstance(value, Command)}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_of_the_drill_stands_in_its_guide(command: Command) -> None:
    assert command.words()[0] == "wardround"
    assert "ward-a" not in " ".join(command.words("ward-b"))


def test_a_command_that_no_guide_has_is_not_typed() -> None:
    with pytest.raises(Broken):
        Command(guides.SITE, "wardround site leave").words()


def test_the_matrix_promises_one_line() -> None:
    assert promised(MATRIX) == {Crossing("site", "server", "tcp", PORT)}


def test_a_fingerprint_is_read_from_what_a_command_said() -> None:
    assert fingerprint("site  ward-a\nyour fingerprint  3f0a 91c2\n", "your fingerprint") == "3f0a 91c2"
    with pytest.raises(Broken):
        fingerprint("site  ward-a\n", "your fingerprint")


# ------------------------------------------------------------------ the verdict

KEPT: dict[str, Any] = {
    "site_commands": 3,
    "first_round_s": 30.0,
    "renewed_mid_study": ["server", "ward-a"],
    "killed_and_restarted": {"ward-b": {}, "server": {}},
    "revoked_cut_s": 2.0,
    "studies": 1,
    "studies_lost": 0,
    "rounds_in_order": True,
    "outbound_ports": [PORT],
    "neither_tcp_nor_udp": 0,
    "as_in_network_matrix": True,
    "listening": {"server": [PORT], "ward-a": []},
    "from_wheel": True,
    "left": {"processes": 0, "namespaces": 0, "files": 0},
}


def test_a_drill_that_kept_every_aim_misses_none() -> None:
    assert list(missed(KEPT, port=PORT)) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"site_commands": 6},
        {"first_round_s": None},
        {"renewed_mid_study": ["server"]},
        {"killed_and_restarted": {"server": {}}},
        {"revoked_cut_s": 25.1},
        {"studies_lost": 1},
        {"studies": 0},
        {"rounds_in_order": False},
        {"outbound_ports": [443, PORT]},
        {"outbound_ports": []},
        {"neither_tcp_nor_udp": 1},
        {"as_in_network_matrix": False},
        {"listening": {"server": [PORT], "ward-a": [8000]}},
        {"listening": {}},
        {"from_wheel": False},
        {"left": {"processes": 1, "namespaces": 0, "files": 0}},
    ],
    ids=str,
)
def test_each_aim_that_is_missed_is_named(broken: dict[str, Any]) -> None:
    assert len(list(missed(KEPT | broken, port=PORT))) == 1


def test_what_was_not_found_out_is_missed() -> None:
    assert len(list(missed({}, port=PORT))) == 13


# ------------------------------------------------------------------ the drill


needs_networks = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make networks")


@pytest.fixture
def networks() -> None:
    if (reason := why_not()) is not None:
        pytest.skip(f"no networks of our own here: {reason}")


@pytest.fixture
def brief() -> Iterator[Path]:
    """A folder with a name as short as pytest's are not: sockets are to lie under it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_networks
def test_three_hospitals_train_behind_a_firewall_of_one_port(networks: None) -> None:
    done = subprocess.run(["bash", "tests/drill/run", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["missed"]) == (True, [])
    assert found["site_commands"] <= 5
    assert found["outbound_ports"] == [PORT]
    assert found["revoked_cut_s"] <= 25
    assert (found["studies"], found["studies_lost"]) == (1, 0)
    assert found["renewed_mid_study"] == ["server", "ward-a"]
    assert set(found["killed_and_restarted"]) == {"ward-b", "server"}
    assert found["left"] == {"processes": 0, "namespaces": 0, "files": 0}


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_networks
@pytest.mark.parametrize(
    ("number", "when"), [(signal.SIGINT, "a second port at the server"), (signal.SIGTERM, "the first round")]
)
def test_a_drill_that_is_broken_off_leaves_nothing_behind(
    number: signal.Signals, when: str, networks: None, brief: Path
) -> None:
    with subprocess.Popen(
        ["bash", "tests/drill/run"], cwd=ROOT, env={**os.environ, "TMPDIR": str(brief)}, stderr=subprocess.PIPE
    ) as running:
        assert running.stderr is not None
        assert any(when.encode() in line for line in running.stderr)
        (place,) = brief.glob("wardround-*")
        name = place.name.rpartition("-")[0]
        assert namespaces(name), "it was under way"
        running.send_signal(number)
        running.stderr.read()
        assert running.wait() == 128 + number
    assert left(name, place) == {"processes": 0, "namespaces": 0, "files": 0}
    assert list(brief.iterdir()) == []
