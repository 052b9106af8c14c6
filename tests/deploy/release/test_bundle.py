"""A bundle installs where there is no index; whatever was changed in it is refused before anything is installed."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.release.bundle import PYTHON, Bundle, download, make_bundle
from deploy.release.command import lock_path
from deploy.release.lock import Lock, Pin, hash_of, read_lock
from deploy.release.signature import verify_checksums
from shared.errors import TrustError
from shared.keys import make_identity_key

ROOT = Path(__file__).parents[3]


def wheel(folder: Path, name: str, *, needs: str = "", code: str = "") -> Path:
    """A small wheel with one module and, for ours, the command."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(
        f"{path},sha256={urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(file, text)
    return path


@pytest.fixture(scope="module")
def builder() -> Ed25519PrivateKey:
    return make_identity_key()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, builder: Ed25519PrivateKey) -> Path:
    """An unpacked, signed bundle of two small wheels, and the builder's public key beside it."""
    place = tmp_path_factory.mktemp("bundle")
    needed = wheel(place, "needed", code="WORD = 'wardround 1.0'\n")
    ours = wheel(
        place,
        "wardround",
        needs="Requires-Dist: needed\n",
        code="import needed\n\ndef main():\n    print(needed.WORD)\n",
    )
    made = bundled(place, ours, needed, builder)
    assert made.signed
    return unpacked(made, place)


def bundled(place: Path, ours: Path, needed: Path, key: Ed25519PrivateKey | None, out: str = "out") -> Bundle:
    lock = Lock((Pin("needed", "1.0", frozenset({hash_of(needed)}), (PYTHON,)),), (PYTHON,))
    fetch = lambda _, folder: shutil.copy(needed, folder)  # noqa: E731
    return make_bundle(ours, lock, variant="cpu", out=place / out, fetch=fetch, key=key)


def unpacked(made: Bundle, place: Path) -> Path:
    with tarfile.open(made.path) as archive:
        archive.extractall(place, filter="data")
    return place / made.path.name.removesuffix(".tar")


def install(bundle: Path, target: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as a person does, with no variable that could lend it an index."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(target.parent), "PYTHON": sys.executable}
    command = ["sh", str(bundle / "install.sh"), str(target), *map(str, more)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def pem(key: Ed25519PrivateKey) -> bytes:
    """The public key as `openssl pkey -pubout` writes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def public(builder: Ed25519PrivateKey, tmp_path: Path) -> Path:
    path = tmp_path / "builder.pem"
    path.write_bytes(pem(builder))
    return path


def test_a_signed_bundle_installs_with_no_index(small: Path, public: Path, tmp_path: Path) -> None:
    done = install(small, tmp_path / "env", public)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["Signature: holds.", "wardround 1.0"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("wheels/needed-1.0-py3-none-any.whl", "damaged"),
        ("requirements.txt", "damaged"),
        ("SHA256SUMS", "does not hold"),
        ("SHA256SUMS.sig", "does not hold"),
    ],
)
def test_a_changed_file_is_refused(small: Path, public: Path, tmp_path: Path, damage: str, said: str) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    data = bytearray((copy / damage).read_bytes())
    data[10] ^= 1
    (copy / damage).write_bytes(data)
    done = install(copy, tmp_path / "env", public)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "env").exists()


def test_another_key_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(pem(make_identity_key()))
    assert "does not hold" in install(small, tmp_path / "env", tmp_path / "other.pem").stderr


def test_an_unsigned_bundle_is_not_taken_for_a_signed_one(tmp_path: Path, public: Path) -> None:
    ours, needed = wheel(tmp_path, "wardround"), wheel(tmp_path, "needed")
    made = bundled(tmp_path, ours, needed, None)
    done = install(unpacked(made, tmp_path), tmp_path / "env", public)
    assert not made.signed
    assert (done.returncode, "not signed" in done.stderr) == (1, True)


@pytest.mark.slow
def test_what_cannot_be_installed_leaves_nothing(small: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small, tmp_path / "copy")
    (copy / "wheels/needed-1.0-py3-none-any.whl").unlink()
    sums = (copy / "SHA256SUMS").read_text().splitlines(keepends=True)
    (copy / "SHA256SUMS").write_text("".join(line for line in sums if "needed" not in line))
    done = install(copy, tmp_path / "env")
    assert (done.returncode, (tmp_path / "env").exists()) == (1, False)
    assert "Signature: not checked" in done.stdout
    assert "nothing was installed" in done.stderr


def test_a_folder_that_is_there_is_left_alone(small: Path, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    assert "is there already" in install(small, tmp_path / "env").stderr


def test_the_signature_is_an_envelope(small: Path, builder: Ed25519PrivateKey, tmp_path: Path) -> None:
    verify_checksums(small, key=builder.public_key())
    copy = shutil.copytree(small, tmp_path / "copy")
    (copy / "SHA256SUMS").write_bytes((copy / "SHA256SUMS").read_bytes() + b"\n")
    with pytest.raises(TrustError):
        verify_checksums(copy, key=builder.public_key())


def test_two_bundles_of_the_same_wheels_are_equal(tmp_path: Path, builder: Ed25519PrivateKey) -> None:
    ours, needed = wheel(tmp_path, "wardround"), wheel(tmp_path, "needed")
    one, other = (bundled(tmp_path, ours, needed, builder, out) for out in ("one", "other"))
    assert one.sha256 == other.sha256
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [one.path.name]


def test_a_wheel_that_is_not_locked_is_refused(tmp_path: Path) -> None:
    ours, needed = wheel(tmp_path, "wardround"), wheel(tmp_path, "needed")
    lock = Lock((Pin("needed", "1.0", frozenset({"0" * 64}), (PYTHON,)),), (PYTHON,))
    with pytest.raises(TrustError):
        make_bundle(
            ours, lock, variant="cpu", out=tmp_path / "out", fetch=lambda _, folder: shutil.copy(needed, folder)
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_the_contents_list_is_cyclonedx(small: Path) -> None:
    text = (small / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = json.loads(text)
    assert [part["name"] for part in listed["components"]] == ["needed"]
    assert {"ref": "pkg:pypi/wardround@1.0", "dependsOn": ["pkg:pypi/needed@1.0"]} in listed["dependencies"]
    assert listed["components"][0]["hashes"][0]["content"] == hash_of(small / "wheels/needed-1.0-py3-none-any.whl")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_installs_and_runs(tmp_path: Path) -> None:
    """The real wheel with all that it needs: some 400 MB to fetch, once."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path), "--target", "wheel"],
        cwd=ROOT,
        check=True,
    )
    lock = read_lock(lock_path("cpu").read_text())
    made = make_bundle(next(tmp_path.glob("*.whl")), lock, variant="cpu", out=tmp_path, fetch=download)
    folder = unpacked(made, tmp_path)
    text = (folder / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    done = install(folder, tmp_path / "env")
    assert (done.returncode, done.stderr) == (0, "")
    check = [tmp_path / "env/bin/python", "-c", "import client.worker, server.app, deploy.cli"]
    subprocess.run(check, cwd=tmp_path, check=True)
