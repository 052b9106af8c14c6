"""A study file for another study that asks the same: the coordinator's own text, under a new name."""

import re

import tomli_w

from shared.errors import ConfigError
from shared.study import Study, parse_study

LONGEST_NAME = 48
_NAME = re.compile(r"^(\s*name\s*=\s*)(\"[^\"\n]*\"|'[^'\n]*')", re.MULTILINE)


def renamed(study: Study, name: str) -> Study:
    """The same study under another name.

    Raises:
        ConfigError: the name is not allowed.
    """
    return parse_study(toml_of(study, name))


def under_free_name(study: Study, suffix: str, *, taken: set[str]) -> Study:
    """The same study under its name and a suffix, with a number where that is taken; cut where it is too long."""
    number = 1
    while (name := _with_suffix(study.name, suffix if number == 1 else f"{suffix}-{number}")) in taken:
        number += 1
    return renamed(study, name)


def _with_suffix(name: str, suffix: str) -> str:
    return name[: LONGEST_NAME - len(suffix)] + suffix


def cloned(study: Study, *, source: str, name: str) -> str:
    """The text of a study file that says the same as `study`, under another name.

    Args:
        study: what was launched.
        source: the text that it was launched from; its comments are kept if it still says `study`.
        name: the new study's name.

    Raises:
        ConfigError: the name is not allowed.
    """
    wanted = renamed(study, name)
    text = _NAME.sub(lambda found: f'{found[1]}"{name}"', source, count=1)
    return text if _says(text, wanted) else toml_of(study, name)


def _says(text: str, study: Study) -> bool:
    try:
        return parse_study(text) == study
    except ConfigError:
        return False


def toml_of(study: Study, name: str) -> str:
    """A study file that says the same as `study` under a name, keys with their default value left out."""
    values = study.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return tomli_w.dumps(values | {"study": values["study"] | {"name": name}})
