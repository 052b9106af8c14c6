"""What every test may ask for."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # of several tests at once; threads that wait by turning starve the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None)  # how long one takes is no matter of a test
settings.load_profile("any machine")

if TYPE_CHECKING:
    from live_federation import CalmStudy, LiveFederation

_SESSION = ("federation", "lab", "orthanc")  # fixtures that start real programs, once a process of tests


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one module run in one process; so do all that share a program which takes long to start.

    Those that need a GPU are skipped where there is none.
    """
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_gpu():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    for item in items:
        names = getattr(item, "fixturenames", ())
        shared = next((name for name in _SESSION if name in names), item.nodeid.partition("::")[0])
        item.add_marker(pytest.mark.xdist_group(shared))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public test images; named by WARDROUND_DATA, else beside the repository."""
    folder = Path(os.environ.get("WARDROUND_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail("CI must have the test images: set WARDROUND_DATA to their folder")
        pytest.skip("the test images are not here: set WARDROUND_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser that shows pages; absence fails under CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium: apt-get install chromium")
        pytest.skip("no chromium here to show the page: apt-get install chromium")
    return found


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`, between which no hard link can be."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here: /dev/shm is none")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def flower_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of Flower's, which are told their run and node; messages can be made only there."""
    from memory_ward import as_flower_process

    as_flower_process(monkeypatch)


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator["LiveFederation"]:
    """One real federation of three sites for all tests that need one; at its end nothing is left of it."""
    from live_federation import LiveFederation

    with LiveFederation(tmp_path_factory.mktemp("live") / "federation") as live:
        live.begin()
        yield live
        family = live.family()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lines that were cut linger; a listener does not
        probe.bind(("127.0.0.1", live.port))


@pytest.fixture(scope="session")
def calm_study(federation: "LiveFederation") -> "CalmStudy":
    """A study that nobody disturbed: what the disturbed ones are compared with."""
    from live_federation import CalmStudy

    folder = federation.launch("calm")
    return CalmStudy(folder, federation.finished(folder))


def _has_gpu() -> bool:
    import torch  # seconds to import

    return torch.cuda.is_available()
