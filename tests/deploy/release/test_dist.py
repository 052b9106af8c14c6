"""Two builds of one commit have the same bytes, wherever, whenever and under whichever umask they are made."""

import os
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KEPT = (
    *("client", "deploy", "server", "shared", "docs", ".ci"),
    *("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "constraints.txt"),
)


def copied(place: Path, *, umask: int) -> Path:
    """The tree as another person's checkout has it."""
    before = os.umask(umask)
    try:
        for name in KEPT:
            kept = ROOT / name
            ignored = shutil.ignore_patterns("__pycache__")
            if kept.is_dir():
                shutil.copytree(kept, place / name, ignore=ignored, copy_function=shutil.copyfile)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, place / name)
    finally:
        os.umask(before)
    return place


def built(tree: Path) -> dict[str, str]:
    """What `make dist` builds: SHA-256 by file name."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", "dist"]
    subprocess.run(command, cwd=tree, env=os.environ | {"SOURCE_DATE_EPOCH": "1764000000"}, check=True)
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted((tree / "dist").iterdir())}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("one") / "wardround", umask=0o022)


@pytest.fixture(scope="module")
def files(tree: Path) -> dict[str, str]:
    return built(tree)


def test_two_builds_are_equal(files: dict[str, str], tmp_path: Path) -> None:
    assert {name.rpartition(".")[2] for name in files} == {"gz", "whl"}
    assert built(copied(tmp_path / "elsewhere" / "tree", umask=0o077)) == files


def test_the_source_archive_builds_the_same_wheel(tree: Path, files: dict[str, str], tmp_path: Path) -> None:
    with tarfile.open(next((tree / "dist").glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    wheel = next(name for name in files if name.endswith(".whl"))
    assert built(next(tmp_path.iterdir()))[wheel] == files[wheel]


def test_the_source_archive_holds_the_project_alone(tree: Path, files: dict[str, str]) -> None:
    with tarfile.open(next((tree / "dist").glob("*.tar.gz"))) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames()}
    assert tops == {*KEPT, "PKG-INFO"}
