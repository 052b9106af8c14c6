"""The one command: what its help costs, which words it lists, and what it says to a wrong word."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import WORDS, app, load

HEAVY = {"torch", "flwr", "monai", "grpc", "numpy", "pydicom", "pydantic", "matplotlib", "cryptography"}
PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def wardround(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="wardround", env=PLAIN)


def commands(name: str) -> list[tuple[str, typer.main.TyperCommand]]:
    """(words, command) of every command below one word."""
    found, waiting = [], [(name, load(name))]
    while waiting:
        words, command = waiting.pop()
        children = getattr(command, "commands", None)
        if children is None:
            found.append((words, command))
        else:
            waiting += [(f"{words} {child}", below) for child, below in children.items()]
    return found


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom deploy.cli import main\nsys.argv = ['wardround', '--help']\n"
        f"try:\n    main()\nfinally:\n    print(sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=PLAIN)
    assert done.returncode == 0
    assert "federation" in done.stdout
    assert done.stderr.strip() == "[]"


def test_help_fits_80_columns_and_cuts_no_sentence() -> None:
    text = wardround("--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name, word in WORDS.items():
        assert f"{name} " in text
        assert word.help in text


@pytest.mark.parametrize("verb", ["rehearse", "amend"])
@pytest.mark.parametrize("deadline", ["nan", "inf", "-3"])
def test_a_deadline_is_a_number_of_seconds(verb: str, deadline: str) -> None:
    done = wardround("study", verb, "lungs", "--deadline", deadline)
    assert done.exit_code == 2
    assert "Invalid value for '--deadline'" in done.output


@pytest.mark.parametrize("name", WORDS)
def test_a_listed_word_loads_and_helps(name: str) -> None:
    done = wardround(name, "--help")
    assert done.exit_code == 0
    assert f"Usage: wardround {name}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", WORDS)
def test_every_command_answers_in_json_and_says_what_it_does(name: str) -> None:

    for words, command in commands(name):
        assert any("--json" in parameter.opts for parameter in command.params), words
        assert command.help, words
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{words} {parameter.name}"


def test_version_is_the_installed_one() -> None:
    assert wardround("--version").stdout == f"wardround {version('wardround')}\n"


def test_a_wrong_word_suggests_the_right_one_once() -> None:
    done = wardround("federaton")
    assert done.exit_code == 2
    assert done.stderr.count("Did you mean") == 1
    assert "federation" in done.stderr


def test_a_part_that_is_not_installed_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORDS, "absent", WORDS["demo"]._replace(module="deploy.absent"))
    assert "absent" not in wardround("--help").stdout
    assert wardround("absent").exit_code == 2


def test_a_word_that_cannot_load_fails_in_words(tmp_path: Path) -> None:
    """The guard around the whole command also catches what fails before a command runs."""
    broken = tmp_path / "broken_word.py"
    broken.write_text("raise RuntimeError('Erika Mustermann')\n")
    code = (
        "import sys\nfrom deploy.cli import WORDS, Word, main\n"
        "WORDS['broken'] = Word('broken_word', 'x')\nsys.argv = ['wardround', 'broken', '--json']\nmain()\n"
    )
    env = {**PLAIN, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 70
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert "Erika" not in done.stdout + done.stderr
