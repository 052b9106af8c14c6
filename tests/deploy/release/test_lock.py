"""The locks hold what `constraints.txt` pins, and what the default install needs."""

import importlib.metadata
import platform
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.command import TITLES, lock_path
from deploy.release.lock import CPU_TAG, PYTHONS, Lock, Pin, merged, read_lock
from shared.errors import ConfigError

ROOT = Path(__file__).parents[3]
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
OF_CUDA = ("nvidia-", "cuda-", "triton")  # which of these torch takes, torch's own metadata pins


@pytest.fixture(params=TITLES)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lock(variant: str) -> Lock:
    return read_lock(lock_path(variant).read_text())


def test_every_version_is_the_one_of_the_constraints(lock: Lock) -> None:
    pinned = {pin.name: pin.version.removesuffix(CPU_TAG) for pin in lock.pins if not pin.name.startswith(OF_CUDA)}
    assert pinned == {name: CONSTRAINTS.get(name) for name in pinned}


def test_everything_that_is_required_is_locked(lock: Lock) -> None:
    """By the requirements of what is installed here, from ours down; extras left out."""
    locked, waiting, seen = {pin.name for pin in lock.pins}, ["wardround"], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        needed = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        names = {canonicalize_name(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})}
        waiting += names - seen
    assert seen - {"wardround"} <= locked


def test_cuda_stands_in_its_own_lock_alone(lock: Lock, variant: str) -> None:
    torch = next(pin for pin in lock.pins if pin.name == "torch")
    assert torch.version.endswith(CPU_TAG) is (variant == "cpu")
    assert any(pin.name.startswith("nvidia-") for pin in lock.pins) is (variant == "cuda")


def test_the_lock_is_for_pythons_that_the_project_takes(lock: Lock) -> None:
    assert set(lock.pythons) <= set(PYTHONS)
    assert ".".join(platform.python_version_tuple()[:2]) in PYTHONS


def test_a_lock_reads_back_and_is_written_as_it_lies(lock: Lock, variant: str) -> None:
    assert lock.text(TITLES[variant]) == lock_path(variant).read_text()


def test_what_one_python_alone_needs_carries_a_marker() -> None:
    both, one = Pin("a", "1", frozenset({"0" * 64})), Pin("b", "2", frozenset({"1" * 64}))
    lock = merged({"3.11": (both, one), "3.12": (both,)})
    assert 'b==2 ; python_version == "3.11" \\\n' in lock.text("Some")
    assert read_lock(lock.text("Some")) == lock


@pytest.mark.parametrize("text", ["", "# Python 3.11\n", "# Python 3.11\na==1\n", "# Python 3.11\na>=1 --hash=x\n"])
def test_a_damaged_lock_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_lock(text)
