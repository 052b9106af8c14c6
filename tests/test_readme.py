"""The README is run: its help texts are compared, its commands are parsed, its make targets exist."""

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from drill.guides import AUDITOR, COORDINATOR, HARDENING, SITE, first_part
from typer.testing import CliRunner

from deploy.cli import app, load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def typed(blocks: list[str]) -> list[str]:
    """What a reader types: the lines after a prompt, remarks left out."""
    return [line[2:].partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line[:2] == "$ "]


COMMANDS = typed(BLOCKS)
GUIDES = {COORDINATOR: 6, SITE: 5, AUDITOR: 2}  # how many commands lead each reader to the first result, at most
TO_TYPE = [c for c in COMMANDS if c.startswith("wardround") and not c.endswith("--help")]
TO_TYPE += [c for guide in (*GUIDES, HARDENING) for c in first_part(guide) if c not in TO_TYPE]
HELP_BLOCKS = [block for block in BLOCKS if typed([block])[0].endswith("--help")]


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def test_the_readme_shows_commands() -> None:
    assert HELP_BLOCKS
    assert any(command.startswith("make ") for command in COMMANDS)
    assert all(command.split()[0] in {"make", "wardround"} for command in COMMANDS)


@pytest.mark.parametrize("block", HELP_BLOCKS, ids=lambda block: typed([block])[0])
def test_help_is_what_the_readme_shows(block: str) -> None:
    command, _, shown = block.partition("\n")
    done = CliRunner().invoke(app, shlex.split(command)[2:], prog_name="wardround", env=PLAIN)
    assert tidy(done.stdout) == tidy(shown)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_readme_leads_to_each_guide_and_the_guide_soon_to_a_result(guide: Path) -> None:
    assert f"](docs/{guide.name})" in README.partition("## Who does what")[2]
    assert 0 < len(first_part(guide)) <= GUIDES[guide]


@pytest.mark.parametrize("line", TO_TYPE)
def test_a_command_of_the_readme_or_a_guide_can_be_typed(line: str) -> None:
    """Parsed by the real command, which is not run."""
    _, word, *rest = shlex.split(line)
    command = load(word)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(line, rest)


@pytest.mark.parametrize(
    "target",
    sorted({*re.findall(r"\bmake ([a-z]+)`", README + CONTRIBUTING), *re.findall(r"\$ make ([a-z]+)", README)}),
)
def test_a_make_command_that_is_named_is_there(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)


def test_the_makefile_has_these_commands_and_no_more() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    assert listed == ["install", "demo", "test", "check", "fix", "dist", "lock", "bundle", "help"]
    assert f".PHONY: {' '.join(listed)}\n" in makefile


def test_the_pins_hold_no_local_version() -> None:
    """A tag such as +cpu would exclude every other build of the same version."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", pin) for pin in pins)
    assert "torch==2.13.0" in pins
    assert pins == sorted(pins)
