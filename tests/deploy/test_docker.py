"""The images' entry points, as an unprivileged user without an environment, and what a linter says of the Dockerfile.

There is no Docker in the tests: the commands are read from the Dockerfile and run here as the image would run them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tiny_federation import images

from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.local import free_port
from deploy.provision import provision

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
BIN = Path(sys.executable).parent
HOME = "/var/lib/wardround"
NOBODY = 65534
# CAP_DAC_READ_SEARCH stands in for an image whose files everybody may read; it lets nobody write.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


def words(target: str, instruction: str) -> list[str]:
    """What the Dockerfile runs in a target."""
    stage = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    text = next(part for part in stage if part.splitlines()[0].endswith(f" AS {target}"))
    found = re.findall(rf"^{instruction} (\[.+\])$", text, re.MULTILINE)
    return [str(word) for word in json.loads(found[-1])]


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN apt-get install curl\n")
    assert subprocess.run([BIN / "hadolint", tmp_path / "Dockerfile"], capture_output=True, check=False).returncode == 1


def test_nothing_runs_as_root_and_everything_has_a_health_check() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.count("HEALTHCHECK") == 2
    for target in ("server", "site"):
        assert words(target, "ENTRYPOINT") == ["wardround"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that another account can get to; pytest's own are root's alone."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become nobody")
def test_the_entry_points_run_as_nobody_in_a_clean_environment(open_folder: Path) -> None:
    root, port = open_folder, free_port()
    made = provision(root, name="image", host="127.0.0.1", fleet_port=port, sites=["site"], now=int(time.time()))
    about = SiteSettings(
        site=AboutSite(name="site"), data=images(root, ["site"])["site"], compute=ComputeSettings(threads=1)
    )
    write_settings(made.sites["site"] / "site.toml", about)
    places = {f"{HOME}/federation": str(made.federation), f"{HOME}/site": str(made.sites["site"])}
    for path in [root, *root.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    started = []
    try:
        for target in ("server", "site"):
            assert run(words(target, "CMD"), places, word="--help").returncode == 0
            assert health(target, places).returncode != 0
            started.append(start(words(target, "CMD"), places, root / f"{target}.log"))
            deadline = time.monotonic() + 240
            while health(target, places).returncode != 0 and time.monotonic() < deadline:
                assert started[-1].poll() is None, (root / f"{target}.log").read_text()
                time.sleep(1)
            assert health(target, places).returncode == 0
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(90)
    assert [process.returncode for process in started] == [0, 0]


def command(words: list[str], places: dict[str, str]) -> list[str]:
    """A command of the image, on the folders of this test."""
    for there, here in places.items():
        words = [word.replace(there, here) for word in words]
    return [*AS_NOBODY, "env", "-i", f"PATH={BIN}:/usr/bin:/bin", "HOME=/nonexistent", *words]


def run(words: list[str], places: dict[str, str], *, word: str = "") -> subprocess.CompletedProcess[str]:
    asked = ["wardround", *words, word] if word else words
    return subprocess.run(command(asked, places), cwd="/", capture_output=True, text=True, check=False)


def health(target: str, places: dict[str, str]) -> subprocess.CompletedProcess[str]:
    found = re.findall(r"CMD (\[\"wardround\", \"health\".+\])", DOCKERFILE.read_text())
    return run(json.loads(next(text for text in found if text.endswith(f'/{FOLDERS[target]}"]'))), places)


FOLDERS = {"server": "federation", "site": "site"}


def start(words: list[str], places: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command(["wardround", *words], places), cwd="/", stdout=output, stderr=output)
