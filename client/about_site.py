"""How the commands about a site name it, and the command that comes next."""

from pathlib import Path
from typing import Annotated

import typer

from client.settings import FILE_NAME
from shared.command_line import typed

Config = Annotated[Path, typer.Option("--config", help="The site's configuration file.")]
DEFAULT_CONFIG = Path(FILE_NAME)


def about_site(config: Path, *words: object) -> str:
    """The whole command about a site that can be typed where `config` names its site.toml."""
    return typed("site", *words, *(() if config == DEFAULT_CONFIG else ("--config", config)))
