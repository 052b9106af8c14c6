"""The forms name commands and keys that exist, and say what they do not cover."""

import re
from pathlib import Path

import click
import pytest

from client.settings import SiteSettings
from deploy.cli import load

FORMS = sorted((Path(__file__).parents[1] / "docs" / "templates").glob("*.md"))


def keys(schema: dict) -> set[str]:
    return {name for part in schema["$defs"].values() for name in part.get("properties", {})}


def test_there_are_four() -> None:
    assert len(FORMS) == 4


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_what_a_form_names_exists(path: Path) -> None:
    text, known = path.read_text(), keys(SiteSettings.model_json_schema())
    for words in re.findall(r"`wardround ([a-z ]+[a-z])[^`]*`", text):
        word, *rest = words.split()
        command = load(word)
        for name in rest:
            assert isinstance(command, click.Group), words
            command = command.commands[name]
    for key in re.findall(r"`([a-z]+(?:_[a-z]+)*)`", text):
        assert key in known, key


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_short_has_blanks_and_says_where_it_ends(path: Path) -> None:
    text = path.read_text()
    assert "______" in text
    assert "## What this form does not cover" in text
    assert len(text.splitlines()) <= 70
