"""The offline bundle: one archive from which a machine without a network installs Wardround.

    wheels/            ours, and every wheel of the lock that this Python takes
    requirements.txt   the lock cut down to those wheels, and ours, each with its SHA-256
    sbom.cdx.json      the contents list (`sbom.py`)
    SHA256SUMS         of every file above and of install.sh; SHA256SUMS.sig signs it (`signature.py`)
    install.sh         checks all of that, and installs

Two bundles of one commit have the same bytes: names are sorted, times and owners are fixed.
"""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packaging.utils import parse_wheel_filename

from deploy.release.lock import Lock, Pin, hash_of
from deploy.release.sbom import bill_of_materials
from deploy.release.signature import sign_checksums
from shared.canonical import canonical, digest
from shared.durable import rename_durably
from shared.errors import LinkError, TrustError

PYTHON = ".".join(platform.python_version_tuple()[:2])
_INSTALL = Path(__file__).with_name("install.sh")


@dataclass(frozen=True)
class Bundle:
    """A written bundle."""

    path: Path
    sha256: str
    wheels: int
    signed: bool


def make_bundle(
    wheel: Path,
    lock: Lock,
    *,
    variant: str,
    out: Path,
    fetch: Callable[[Lock, Path], None],
    key: Ed25519PrivateKey | None = None,
) -> Bundle:
    """Write the bundle of one wheel of ours.

    Args:
        wheel: what `make dist` built.
        lock: what it needs.
        variant: `cpu` or `cuda`, for the archive's name.
        out: the folder for the archive.
        fetch: puts the lock's wheels for this Python into a folder.
        key: the builder's; None leaves the bundle unsigned.

    Raises:
        LinkError: a wheel cannot be had.
        TrustError: a wheel is not one of the lock.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".bundle-") as made:
        root = Path(made)
        name = f"wardround-{parse_wheel_filename(wheel.name)[1]}-{variant}-py{PYTHON.replace('.', '')}-linux-x86_64"
        wheels = root / "wheels"
        wheels.mkdir()
        fetch(lock, wheels)
        taken = [_pin_of(path, lock) for path in sorted(wheels.iterdir())]
        shutil.copyfile(wheel, wheels / wheel.name)
        files = _files(root, [*taken, _our_pin(wheel)])
        if key is not None:
            files["SHA256SUMS.sig"] = sign_checksums(files["SHA256SUMS"], key=key)
        archive = root / "archive"
        _write_archive(archive, name, files, sorted(wheels.iterdir()))
        path = out / f"{name}.tar"
        rename_durably(archive, path)
    return Bundle(path, hash_of(path), len(taken) + 1, key is not None)


def download(lock: Lock, folder: Path) -> None:
    """Have pip bring the lock's wheels for this Python, each of them verified.

    Raises:
        LinkError: pip cannot have them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = Path(scratch) / "requirements.txt"
        asked.write_text(lock.text("Asked for"), encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--only-binary", ":all:", "--require-hashes", "--requirement", str(asked), "--dest", str(folder)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["ERROR: nothing was said"]
        raise LinkError(
            f"The wheels of the lock cannot be had: {said[0].removeprefix('ERROR:').strip()}",
            remedy="Point pip at an index that has them, for the CPU lock one with CPU builds of torch.",
        )


def _pin_of(wheel: Path, lock: Lock) -> Pin:
    """The lock's pin for one wheel, with this wheel's hash alone."""
    found = hash_of(wheel)
    for pin in lock.pins:
        if found in pin.hashes:
            return Pin(pin.name, pin.version, frozenset({found}), lock.pythons)
    raise TrustError(f"{wheel.name} is not a wheel of the lock.", remedy="Take it away, or make the lock anew.")


def _our_pin(wheel: Path) -> Pin:
    name, version, *_ = parse_wheel_filename(wheel.name)
    return Pin(str(name), str(version), frozenset({hash_of(wheel)}))


def _files(root: Path, pins: list[Pin]) -> dict[str, bytes]:
    """Every file beside the wheels, by name."""
    wheels = sorted((root / "wheels").iterdir())
    script = _INSTALL.read_text(encoding="utf-8").replace("@PYTHON@", PYTHON)
    requirements = "".join(pin.lines(pin.pythons) + "\n" for pin in sorted(pins, key=lambda pin: pin.name))
    files = {
        "install.sh": script.encode(),
        "requirements.txt": requirements.encode(),
        "sbom.cdx.json": canonical(bill_of_materials(wheels, root="wardround")),
    }
    sums = {f"wheels/{wheel.name}": hash_of(wheel) for wheel in wheels}
    sums |= {name: digest(data) for name, data in files.items()}
    files["SHA256SUMS"] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    return files


def _write_archive(path: Path, name: str, files: Mapping[str, bytes], wheels: list[Path]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for file, data in sorted(files.items()):
            archive.addfile(_member(f"{name}/{file}", len(data)), io.BytesIO(data))
        for wheel in wheels:
            with wheel.open("rb") as content:
                archive.addfile(_member(f"{name}/wheels/{wheel.name}", wheel.stat().st_size), content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A file of nobody and of no time: the archive's bytes follow from the content alone."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
