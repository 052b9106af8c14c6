"""The lock: every package of the default install with the SHA-256 of its wheels, for Linux on x86_64.

Which versions those are `constraints.txt` decides; here stands only which files of them are ours. torch comes as a
build for CUDA and as one for CPUs, whose files differ, and so there are two locks. uv resolves, once for each version
of Python, and names the files; packages that a version of Python does not need carry a marker. A lock is read by
`pip install --require-hashes`, which refuses every file that it does not name.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.errors import ConfigError, LinkError

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORM = "x86_64-manylinux_2_28"  # glibc 2.28: Debian 10, RHEL 8, Ubuntu 18.10 and later
CPU_TAG = "+cpu"
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9a-z.+]+)(?: ; (?P<marker>.+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One package: its version, the SHA-256 (hex) of each wheel that may be taken, the Pythons that need it."""

    name: str
    version: str
    hashes: frozenset[str]
    pythons: tuple[str, ...] = PYTHONS

    def lines(self, pythons: tuple[str, ...]) -> str:
        """The pin as a requirements file has it, in a lock for `pythons`."""
        some = " or ".join(f'python_version == "{one}"' for one in self.pythons)
        marker = "" if self.pythons == pythons else f" ; {some}"
        return " \\\n".join(
            [f"{self.name}=={self.version}{marker}", *(f"    --hash=sha256:{one}" for one in sorted(self.hashes))]
        )


@dataclass(frozen=True)
class Lock:
    """All pins, by name, and the versions of Python that they are for."""

    pins: tuple[Pin, ...]
    pythons: tuple[str, ...]

    def text(self, title: str) -> str:
        """The lock as a requirements file."""
        head = f"# {title}, for Linux on x86_64 and Python {', '.join(self.pythons)}. Made by `make lock`.\n"
        return head + "".join(pin.lines(self.pythons) + "\n" for pin in self.pins)


def read_lock(text: str) -> Lock:
    """Read what `Lock.text` wrote.

    Raises:
        ConfigError: it is no such lock.
    """
    first, _, rest = text.partition("\n")
    pythons = tuple(re.findall(r"\b3\.\d+\b", first))
    pins = tuple(_read_pin(block, pythons) for block in rest.replace(" \\\n", " ").splitlines() if block)
    if not pins or not pythons:
        raise ConfigError("This lock holds no package.", remedy="Make it anew: `make lock`.")
    return Lock(pins, pythons)


def _read_pin(line: str, pythons: tuple[str, ...]) -> Pin:
    head, hashes = line.partition("    --hash")[0].strip(), frozenset(_HASH.findall(line))
    found = _PIN.fullmatch(head)
    if found is None or not hashes:
        raise ConfigError(f"A line of the lock cannot be read: {head[:80]}", remedy="Make it anew: `make lock`.")
    some = tuple(re.findall(r'"(3\.\d+)"', found["marker"] or ""))
    return Pin(found["name"], found["version"], hashes, some or pythons)


def resolve(root: Path, *, links: str | None = None) -> Lock:
    """Resolve what `pyproject.toml` asks for under `constraints.txt`.

    Args:
        root: the checkout.
        links: a folder or page with builds of torch for CPUs; None takes the builds for CUDA.

    Raises:
        LinkError: no index can be read, or it has not got what is pinned.
        ConfigError: no build for CPUs is found.
    """
    found = {python: tuple(_wheels(root, python, links)) for python in PYTHONS}
    if links is not None:  # of Pythons without a CPU build the index has given torch for CUDA
        found = {python: wheels for python, wheels in found.items() if any(w.version.endswith(CPU_TAG) for w in wheels)}
    if not found:
        raise ConfigError("No build of torch for CPUs was found there.", remedy="Name a folder or page that has one.")
    return merged(found)


def merged(found: dict[str, tuple[Pin, ...]]) -> Lock:
    """One lock of what each version of Python needs."""
    every: dict[tuple[str, str], dict[str, Pin]] = {}
    for python, pins in found.items():
        for pin in pins:
            every.setdefault((pin.name, pin.version), {})[python] = pin
    return Lock(
        tuple(
            Pin(name, version, frozenset().union(*(pin.hashes for pin in by.values())), tuple(by))
            for (name, version), by in sorted(every.items())
        ),
        tuple(found),
    )


def _wheels(root: Path, python: str, links: str | None) -> Iterator[Pin]:
    command = [
        *("pip", "compile", "pyproject.toml", "--quiet", "--no-config", "--constraint", "constraints.txt"),
        *("--python-version", python, "--python-platform", PLATFORM, "--only-binary", ":all:"),
        *("--generate-hashes", "--format", "pylock.toml", "--no-header"),
        *(("--find-links", links) if links else ()),
    ]
    uv = Path(sys.executable).with_name("uv")  # Flower brings it
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run([uv, *command], cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1].strip()
        raise LinkError(
            f"The packages for Python {python} could not be resolved: {last}",
            remedy="uv takes its index from UV_DEFAULT_INDEX; see `uv help pip compile`.",
        )
    for package in tomllib.loads(done.stdout)["packages"]:
        yield Pin(package["name"], package["version"], frozenset(_hashes(package["wheels"])))


def _hashes(wheels: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The hash of each wheel; of one that lies on this disk it is computed."""
    for wheel in wheels:
        yield wheel["hashes"].get("sha256") or hash_of(Path(unquote(urlsplit(wheel["url"]).path)))


def hash_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
