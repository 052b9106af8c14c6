"""What every test may ask for."""

import contextlib
import functools
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

if "PYTEST_XDIST_WORKER" in os.environ:  # of several tests at once; threads that wait by turning starve the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None)  # how long one takes is no matter of a test
settings.load_profile("any machine")

if TYPE_CHECKING:
    from flower_lab import Lab
    from live_federation import CalmStudy, LiveFederation

PROGRAMS = ("federation", "lab", "orthanc")  # fixtures that start real programs, once a process of tests
RUNNING = pytest.StashKey[dict[str, Callable[[], object]]]()  # those that run in this process, and how each is ended


class ByProgram(LoadScopeScheduling):
    """Tests of one module run in one process; so do all modules that share a program which takes long to start."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return _program_of(module) or module


@functools.cache
def _program_of(module: str) -> str | None:
    text = (Path(__file__).parents[1] / module).read_text()
    return next((p for p in PROGRAMS if re.search(rf"^def \w+\([^)]*\b{p}\b", text, re.MULTILINE)), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """How `make test` deals tests to its processes; another `--dist` has its own way."""
    return ByProgram(config, log) if config.getoption("dist") == "loadscope" else None


def _turn(item: pytest.Item) -> int:
    """What takes long is begun first, so that no process is left alone with it: programs, then whole studies."""
    module = item.nodeid.partition("::")[0]
    program = _program_of(module)
    return PROGRAMS.index(program) if program else len(PROGRAMS) + (module.count("/") > 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that are dealt to several processes in their turn; skip those that need a GPU where there is none."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_turn)
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_gpu():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """End a program when its tests in this process are over: until the end of all it would take its share of a core."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return  # tests come in the order of their files, so that there may be more
    wanted = {*getattr(item, "fixturenames", ()), _program_of(item.nodeid.partition("::")[0])}
    running = item.config.stash.get(RUNNING, {})
    for name in running.keys() - wanted:
        running.pop(name)()


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
def federation(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator["LiveFederation"]:
    """One real federation of three sites for all tests that need one; at its end nothing is left of it."""
    from live_federation import PATIENCE_S, LiveFederation

    running = pytestconfig.stash.setdefault(RUNNING, {})
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(LiveFederation(tmp_path_factory.mktemp("live") / "federation"))
        live.begin()

        def end() -> None:
            family = live.family()
            stack.close()
            _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
            assert alive == []
            with socket.socket() as probe:  # lines that were cut linger; a listener does not
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", live.port))

        running["federation"] = end
        yield live
        if running.pop("federation", None) is not None:
            end()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator["Lab"]:
    """One SuperLink for all tests that speak with one by themselves."""
    from flower_lab import Lab

    running = pytestconfig.stash.setdefault(RUNNING, {})
    lab = Lab(tmp_path_factory.mktemp("lab"))

    def end() -> None:
        lab.close()
        assert lab.superlink.children() == []

    running["lab"] = end
    yield lab
    if running.pop("lab", None) is not None:
        end()


@pytest.fixture(scope="session")
def calm_study(federation: "LiveFederation") -> "CalmStudy":
    """A study that nobody disturbed: what the disturbed ones are compared with."""
    from live_federation import CalmStudy

    folder = federation.launch("calm")
    return CalmStudy(folder, federation.finished(folder))


def _has_gpu() -> bool:
    import torch  # seconds to import

    return torch.cuda.is_available()
