"""The compatibility table of docs/upgrade.md says what the code says."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import click
import pytest
import recording

from client.checks.configuration import FLOWER
from client.privacy.budget_file import Kept
from deploy.cli import load
from shared import chain, console, envelope
from shared.errors import ProtocolError
from shared.folder_format import FOLDER_FORMAT
from shared.identity import RECORD_FORMAT
from shared.protocol import OLDEST, PROTOCOL, insist_on_readable
from shared.sealed import FEDERATION, SITE
from shared.version import VERSION
from shared.wire import FromServer, FromSite, Rehearse, Rehearsed

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/upgrade.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def row(name: str) -> list[str]:
    (found,) = (cells[1:] for cells in ROWS if cells[0] == name)
    return found


def pinned(name: str, text: str) -> str:
    found = re.search(rf"^{name}==(\S+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_row_of_this_version_has_the_numbers_of_the_code() -> None:
    said = {kind.model_fields["protocol"].default for kind in get_args(FromServer | FromSite)} - {2}
    rehearsed = {kind.model_fields["protocol"].default for kind in (Rehearse, Rehearsed)}
    formats = (envelope.FORMAT, RECORD_FORMAT, chain.FORMAT, FOLDER_FORMAT, Kept.model_fields["version"].default)
    numbers = map(str, (*said, *rehearsed, f"{OLDEST} to {PROTOCOL}", *formats, console.ENVELOPE_VERSION))
    (backup,) = {*re.findall(rb"backup (\d+)", FEDERATION.mark + SITE.mark)}
    assert row(VERSION) == [*numbers, backup.decode()]


def test_every_version_that_was_recorded_has_a_row() -> None:
    assert {folder.name for folder in recording.RECORDED.iterdir()} <= {cells[0] for cells in ROWS}


def test_what_it_needs_is_what_is_installed() -> None:
    needs = PROJECT["dependencies"]
    assert f"flwr=={FLOWER}.*" in needs
    assert row("Flower")[0].startswith(f"{FLOWER},")
    assert row("Python")[0].startswith(PROJECT["requires-python"].removeprefix(">=") + " or later")
    least = next(need.removeprefix("torch>=") for need in needs if need.startswith("torch>="))
    locked = pinned("torch", (ROOT / "constraints.txt").read_text())
    assert row("torch")[:2] == [f"{least} or later; the locks install {locked}", f"{locked} at every change"]
    for lock in (ROOT / "deploy/lock").glob("requirements-*.txt"):
        assert pinned("torch", lock.read_text()).partition("+")[0] == locked


def test_the_way_on_and_the_way_back_can_be_typed() -> None:
    """Parsed by the real commands, which are not run; one that is only named, without arguments, is left out."""
    typed = re.findall(r"(?:^(?:/\S+/)?|`)wardround ([a-z]+ [a-z-]+ [^`\n]+)", TEXT, re.MULTILINE)
    assert {tuple(line.split()[:2]) for line in typed} >= {
        (house, verb) for house in ("site", "federation") for verb in ("backup", "restore", "check")
    }
    for line in typed:
        word, *rest = line.split()
        command = load(word)
        while isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        command.make_context(line, rest)


def test_the_refusal_is_the_real_one() -> None:
    with pytest.raises(ProtocolError) as caught:
        insist_on_readable(PROTOCOL + 1, sender="0.3.0")
    assert f"{caught.value.what} {caught.value.remedy}" in " ".join(TEXT.split())
