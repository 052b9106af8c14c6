"""The units are what systemd takes without a word, and what it calls well hardened."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from deploy.cli import load
from shared.log_file import LogSettings

ROOT = Path(__file__).parents[2]
OPERATION = (ROOT / "docs/operation.md").read_text()
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
OF_A_USER = ROOT / "deploy/systemd/user/wardround-site@.service"
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_RUNTIME_DIR": "/run"}  # a user's manager wants one, and leaves nothing in it
    return subprocess.run(["systemd-analyze", *words], env=environment, capture_output=True, text=True, check=False)


def in_place(unit: Path, folder: Path) -> Path:
    """The unit with a command that is there, so that verify has nothing else to say than about the unit."""
    copy = folder / unit.name
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit.read_text(), flags=re.MULTILINE)
    copy.write_text(text.replace("User=wardround", "User=daemon").replace("Group=wardround", "Group=daemon"))
    return copy


@systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_verified_and_hardened(unit: Path, tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", str(in_place(unit, tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    assert analyze("security", "--offline=true", "--threshold=30", str(unit)).returncode == 0


@systemd
def test_the_threshold_is_one(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert analyze("security", "--offline=true", "--threshold=30", str(bare)).returncode != 0


@systemd
def test_the_unit_of_an_account_without_root_is_verified(tmp_path: Path) -> None:
    done = analyze("--user", "verify", "--man=no", str(in_place(OF_A_USER, tmp_path)))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_folder_of_the_log_that_the_documents_show_can_be_written(unit: Path) -> None:
    shown = re.search(r"^```\n(\[log\]\nfolder = .+?)^```", OPERATION, re.MULTILINE | re.DOTALL)
    assert shown is not None
    folder = LogSettings.model_validate(tomllib.loads(shown[1])["log"]).folder
    lines = unit.read_text().splitlines()
    (made,) = (line.partition("=")[2] for line in lines if line.startswith("LogsDirectory="))
    assert "ProtectSystem=strict" in lines  # so that nothing else is
    assert folder.is_relative_to(Path("/var/log") / made)  # systemd.exec(5), LogsDirectory
    assert "LogsDirectoryMode=0700" in lines


@pytest.mark.parametrize("unit", [*UNITS, OF_A_USER], ids=lambda unit: f"{unit.parent.name}/{unit.name}")
def test_a_unit_starts_a_command_of_ours_and_watches_it(unit: Path) -> None:
    text = unit.read_text()
    words = re.search(r"^ExecStart=\S+/wardround (.+)$", text, re.MULTILINE)
    assert words is not None
    word, *rest = words[1].split()
    command = load(word)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(word, rest)
    assert {"Type=notify", "Restart=always", "WatchdogSec=5min", "UMask=0077"} <= set(text.splitlines())
