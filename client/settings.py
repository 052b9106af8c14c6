"""site.toml: what hospital IT decides about its site, parsed once into a frozen model."""

import json
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from client.disk_settings import DiskSettings
from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from client.line.way import ServerSettings
from client.notify_settings import NotifySettings
from client.policy import Policy
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.fields import Name
from shared.log_file import LogSettings
from shared.monitoring import MetricsSettings
from shared.section import Section, wrong_keys

FILE_NAME = "site.toml"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class ComputeSettings(Section):
    """Where the worker computes.

    `threads` are CPU threads of one worker (0: one per core); results are reproducible for the
    same number. `idle_s` ends an idle worker so that the GPU is free for others. The others are for machines that
    are shared with the clinic (`client/work/sharing.py`).
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    idle_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    gpu_free_gb: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    gpu_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 3600.0


class AboutSite(Section):
    """Who the site is; the name is the one on its invitation."""

    name: Name


class SiteSettings(Section):
    """A whole site.toml. Relative paths count from the folder that holds the file."""

    site: AboutSite
    server: ServerSettings = ServerSettings()
    data: DataSettings
    labels: LabelSettings = LabelSettings()
    compute: ComputeSettings = ComputeSettings()
    disk: DiskSettings = DiskSettings()
    log: LogSettings = LogSettings()
    notify: NotifySettings = NotifySettings()
    policy: Policy = Policy()
    metrics: MetricsSettings = MetricsSettings()


def folder_of(config: Path) -> Path:
    """The site's folder, from the configuration file that was named.

    Raises:
        ConfigError: the file has another name, or is not there; everything of a site lies beside its site.toml.
    """
    path = config.resolve()
    if path.name != FILE_NAME:
        raise ConfigError(
            f"A site's configuration is called {FILE_NAME}; {config.name} would not be read.",
            remedy=f"Name the {FILE_NAME} in the site's own folder, and put what you want to change into it.",
        )
    if not path.is_file():
        raise ConfigError(
            f"There is no {FILE_NAME} at {path.parent}.",
            remedy=f"Name the site's own by --config /path/to/the/site/{FILE_NAME}, or join: `wardround site join`.",
        )
    return path.parent


def load_settings(path: Path) -> SiteSettings:
    """Read site.toml.

    Raises:
        ConfigError: the file is absent, not TOML, or holds a key or value that is not allowed.
    """
    try:
        return SiteSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path.name} at {path.parent}.", remedy="Run `wardround site join` first, or name the file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}", remedy="Correct the line named.") from None
    except ValidationError as error:
        raise ConfigError(wrong_keys("site", SiteSettings, error), remedy="Correct the keys named.") from None


def write_settings(path: Path, settings: SiteSettings) -> bool:
    """Write a site.toml that reads back as `settings`; an existing file is left as it is.

    Returns:
        Whether the file now says `settings`; False if an existing one says something else.
    """
    if path.exists():
        return _says(path, settings)
    lines = [f"# The site {settings.site.name}: what hospital IT decides. See docs/site-file.md.", ""]
    for name, table in settings.model_dump(mode="json", exclude_defaults=True).items():
        lines += _table(name, table)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines).encode())
    return True


def _table(name: str, table: dict[str, Any]) -> list[str]:
    """A TOML table and those in it, line by line."""
    own = [f"{_key(key)} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    inner = (_table(f"{name}.{_key(key)}", value) for key, value in table.items() if isinstance(value, dict))
    return [f"[{name}]", *own, "", *chain.from_iterable(inner)]


def _key(name: str) -> str:
    """A key as TOML wants it: bare if it may be, else as a string."""
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _says(path: Path, settings: SiteSettings) -> bool:
    try:
        return load_settings(path) == settings
    except ConfigError:
        return False
