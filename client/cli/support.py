"""`wardround site support`: an archive for whoever helps, whose list is shown before it is written."""

from pathlib import Path
from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config
from client.settings import folder_of
from shared.console import Answer, answering, progress_console, table
from shared.durable import write_atomically
from shared.errors import ConfigError, naming_disk_full


@answering("site.support")
def support(
    config: Config = DEFAULT_CONFIG,
    *,
    to: Annotated[Path, typer.Option("--to", help="The archive to write.")] = Path("wardround-support.zip"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Write versions, settings without any text of yours, status and codes of errors into an archive for support."""
    from client.support import archive, support_files

    if to.exists():
        raise ConfigError(f"{to} exists already.", remedy="Name another file with --to.")
    files = support_files(folder_of(config))
    rows = [(name, f"{len(data):,}") for name, data in files.items()]
    if not yes:
        progress_console().print(table(("file", "bytes"), rows))
        progress_console().print("No patient, image, key, path or address is in it; of texts, names of studies alone.")
        if not typer.confirm(f"Write it to {to}?", err=True):
            raise ConfigError("Nothing was written.", remedy="Type yes, or give --yes.")
    data = archive(files)
    try:
        with naming_disk_full():
            write_atomically(to, data, mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"{to} cannot be written ({error.strerror}).", remedy="Name another file with --to."
        ) from None
    said = {"file": str(to), "bytes": len(data), "files": {name: len(part) for name, part in files.items()}}
    return Answer(said, f"{to} holds {', '.join(files)}. Look into it before you send it: unzip -p {to} | less")
