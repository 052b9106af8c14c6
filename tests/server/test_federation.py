"""A federation folder appears whole, keeps its keys closed, and is refused when it is not sound."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from server.federation import Federation, create_federation, load_federation
from shared.errors import ConfigError, ResourceError, TrustError
from shared.identity import sign_roster
from shared.keys import load_transport_key

NOW = 1_800_000_000
ROOT = Path(__file__).parents[2]


def create(folder: Path, **changed: Any) -> Federation:
    return create_federation(
        folder, **{"name": "lungs", "host": "fl.example", "fleet_port": 9092, "now": NOW, **changed}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create(tmp_path / "federation").folder


def test_a_new_federation_is_whole(folder: Path) -> None:
    federation = load_federation(folder)
    assert federation.settings.model_dump(exclude={"log", "metrics"}, exclude_none=True) == {
        "name": "lungs",
        "host": "fl.example",
        "fleet_port": 9092,
    }
    assert federation.settings.metrics.port == federation.settings.metrics.grpc_port == 0
    assert (federation.roster.version, federation.roster.entries) == (1, ())
    assert len(bytes.fromhex(federation.patient_salt)) == 32
    assert {path.name for path in folder.iterdir()} == {
        *("federation.toml", "roster.signed", "coordinator.key", "salt", "format.json"),
        *("ca", "server", "invitations", "studies", "run"),
    }


def test_secrets_are_closed_and_never_shown(folder: Path) -> None:
    for name in ("ca/key.pem", "server/key.pem", "coordinator.key", "salt"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    federation = load_federation(folder)
    assert federation.patient_salt not in repr(federation)
    assert "PrivateKey" not in repr(federation)


def test_the_server_key_fits_its_certificate(folder: Path) -> None:
    federation = load_federation(folder)
    certificate = x509.load_pem_x509_certificate(federation.server_certificate.read_bytes())
    authority = x509.load_pem_x509_certificate(federation.ca_certificate.read_bytes())
    certificate.verify_directly_issued_by(authority)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert load_transport_key(federation.server_key).public_key() == key


def test_two_federations_share_no_secret(tmp_path: Path) -> None:
    one, two = create(tmp_path / "one"), create(tmp_path / "two")
    assert one.fingerprint() != two.fingerprint()
    assert one.patient_salt != two.patient_salt


def test_an_empty_folder_may_become_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert create(tmp_path / "new").settings.name == "lungs"
    assert create(tmp_path / "deep" / "er").settings.name == "lungs"


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    before = (folder / "coordinator.key").read_bytes()
    with pytest.raises(ConfigError, match="not empty"):
        create(folder)
    assert (folder / "coordinator.key").read_bytes() == before
    with pytest.raises(ConfigError, match="not empty"):
        create(folder / "salt")


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../up"},
        {"name": 'x"\nhost = "evil'},
        {"name": ""},
        {"host": "fl.example:9092"},
        {"host": 'a"b'},
        {"fleet_port": 0},
        {"fleet_port": 65536},
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_made(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changed))):
        create(tmp_path / "federation", **changed)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="year"):
        create(tmp_path / "federation", now=10**13)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be made"):
        create(tmp_path / "file" / "federation")


def test_another_folder_is_no_federation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a federation folder"):
        load_federation(tmp_path)
    with pytest.raises(ConfigError, match="not a federation folder"):
        load_federation(tmp_path / "none")


def test_an_unknown_key_in_the_settings_lists_the_known_ones(folder: Path) -> None:
    with (folder / "federation.toml").open("a") as file:
        file.write("colour = 1\n")
    with pytest.raises(
        ConfigError, match="colour: unknown key; known here: fleet_port, host, log, metrics, name, proxied_port"
    ):
        load_federation(folder)
    (folder / "federation.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_federation(folder)
    (folder / "federation.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        load_federation(folder)


def test_an_exposed_coordinator_key_is_refused(folder: Path) -> None:
    (folder / "coordinator.key").chmod(0o644)
    with pytest.raises(TrustError, match="coordinator's key has file mode 0644"):
        load_federation(folder)


def test_a_changed_or_missing_roster_is_refused(folder: Path) -> None:
    data = (folder / "roster.signed").read_bytes()
    (folder / "roster.signed").write_bytes(data.replace(b"lungs", b"heart"))
    with pytest.raises(TrustError, match="valid signature"):
        load_federation(folder)
    os.unlink(folder / "roster.signed")
    with pytest.raises(ConfigError, match=r"roster\.signed of the federation cannot be read"):
        load_federation(folder)


def test_a_roster_of_another_federation_is_refused(folder: Path) -> None:
    federation = load_federation(folder)
    other = federation.roster.model_copy(update={"federation": "hearts"})
    (folder / "roster.signed").write_bytes(sign_roster(other, key=federation.coordinator_key))
    with pytest.raises(TrustError, match=r"'hearts'; federation.toml says 'lungs'"):
        load_federation(folder)


@pytest.mark.parametrize("steps", [1, 4, 9, 13])
def test_a_founding_that_is_killed_leaves_no_half_federation(tmp_path: Path, steps: int) -> None:
    """The process ends itself when it brings its n-th file or folder to the disk."""
    folder = tmp_path / "federation"
    code = f"""
import os, signal, sys
from pathlib import Path
from server.federation import create_federation
left = {steps}
def watch(event, args):
    global left
    if event == "os.rename":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
create_federation(Path({str(folder)!r}), name="lungs", host="fl.example", fleet_port=9092, now={NOW})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    if done.returncode == 0:
        assert load_federation(folder).settings.name == "lungs"
    else:
        assert not folder.exists()
        assert create(folder).settings.name == "lungs"
