"""Two sites under the stock `flower-supernode` train the very model that our own agents train."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tiny_federation import images, marked, queue_study

from deploy.local import LocalFederation
from server.federation import load_federation
from server.study_folder import StudyFolder, StudyState
from shared.canonical import digest
from shared.keys import load_transport_key
from shared.ledger import read_entries
from shared.loopback import free_port

SITES = ["north", "south"]
ROUNDS = 3
OVER = {StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED}


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An environment in which Flower finds no home but ours; nothing that inherits it outlives the test."""
    mark = str(tmp_path)
    for name, value in {
        "HOME": mark,
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "WARDROUND_TEST": mark,
    }.items():
        monkeypatch.setenv(name, value)
    yield mark
    left = marked(mark)
    for process in left:
        process.kill()
    assert left == []


@contextmanager
def supernodes(local: LocalFederation) -> Iterator[None]:
    """A stock SuperNode for each site, with the site's own key; ended with all that they started."""
    nodes = []
    try:
        for name, folder in local.sites.items():
            nodes.append(_supernode(local, name, folder))
        yield
    finally:
        family = [child for node in nodes for child in psutil.Process(node.pid).children(recursive=True)]
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(30)
        _, left = psutil.wait_procs(family, timeout=15)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=15)


def _supernode(local: LocalFederation, name: str, folder: Path) -> subprocess.Popen[bytes]:
    key, ssh_key = load_transport_key(folder / "keys" / "transport.pem"), local.root / f"{name}.ssh"
    ssh_key.touch(mode=0o600)
    ssh_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    command = [
        "flower-supernode",
        *("--superlink", f"127.0.0.1:{local.port}", "--host", "127.0.0.1", "--port", str(free_port())),
        *("--root-certificates", str(load_federation(local.federation).ca_certificate)),
        *("--auth-supernode-private-key", str(ssh_key)),
        *("--node-config", f'site-folder="{folder}"'),
    ]
    with (local.root / "logs" / f"supernode-{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def run(local: LocalFederation, name: str) -> StudyFolder:
    folder = queue_study(local.federation, name, rounds=ROUNDS, sites=len(SITES))
    local.wait_for(lambda: folder.standing().state in OVER, patience_s=700, what=f"the end of {name}")
    assert folder.standing().state is StudyState.FINISHED, folder.standing().reason
    return folder


def releases(folder: Path, study: str) -> list[tuple[str, int]]:
    """What left a site in a study: kind and round."""
    entries = [e.data for e in read_entries(folder / "ledger.jsonl") if e.type == "release"]
    return [(e["kind"], e["round"]) for e in entries if e["study"] == study]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_stock_supernode_trains_the_same_model(tmp_path: Path, quiet: str) -> None:
    with LocalFederation(tmp_path / "ward", images(tmp_path, SITES), device="cpu") as local:
        local.serve()
        for site in SITES:
            local.start_site(site)
        ours = run(local, "under-our-agents")
        for site in SITES:
            local.stop(site)
        with supernodes(local):
            stock = run(local, "under-supernodes")

    models = [digest((folder.path / "model.safetensors").read_bytes()) for folder in (ours, stock)]
    assert models[0] == models[1]
    for folder in local.sites.values():  # whether the last word, `closed`, comes in time is the machine's matter
        left = releases(folder, stock.name)[: ROUNDS + 2]
        assert left == releases(folder, ours.name)[: ROUNDS + 2]
        assert [kind for kind, _ in left] == ["opened", *["ready"] * (ROUNDS + 1)]
