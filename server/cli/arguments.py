"""What the commands about a study take, and how they name the command that comes next."""

import math
from pathlib import Path
from typing import Annotated

import typer

from shared.command_line import typed
from shared.errors import ConfigError
from shared.study import Study, parse_study

Name = Annotated[str, typer.Argument(help="The study's name.")]
Federation = Annotated[Path, typer.Option("--federation", "-f", help="The federation's folder.")]
StartModel = Annotated[Path | None, typer.Option(help="The model file that the study pins.")]
Backbone = Annotated[Path | None, typer.Option(help="The file of the backbone that the study pins.")]
HERE = Path()
STUDY_LIMIT_BYTES = 1 << 20


def about(verb: str, name: str, federation: Path) -> str:
    """The whole command about a study that can be typed where this one was."""
    return typed("study", verb, name, *(() if federation == HERE else ("-f", federation)))


def a_number(given: float | None) -> float | None:
    """What was given, if it is finite: the bounds of an option let through what compares with nothing."""
    if given is not None and not math.isfinite(given):
        raise typer.BadParameter(f"{given} is not a number of seconds.")
    return given


def read_study(path: Path) -> Study:
    """A study from its file.

    Raises:
        ConfigError: the file is absent or cannot be used.
    """
    try:
        with path.open("rb") as file:
            text = file.read(STUDY_LIMIT_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"There is no readable study file at {path}.", remedy="Write one with `wardround study new FILE`."
        ) from None
    if len(text) > STUDY_LIMIT_BYTES:
        raise ConfigError(f"{path} is too large for a study file.", remedy="Name the study's own .toml file.")
    try:
        return parse_study(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.what}", remedy=error.remedy) from None
