"""A signed record that a site keeps in its folder once it has come; what is in it, its reader decides."""

from pathlib import Path

from shared.errors import ConfigError


def read_kept(path: Path, *, limit: int) -> bytes | None:
    """As much of a record as its reader looks at; None if none has come.

    Args:
        path: the file in the site's folder.
        limit: bytes beyond which its reader refuses it.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{path.name} in the site's folder cannot be read ({error.strerror}).",
            remedy="Restore it from your backup, or ask the coordinator to send it again.",
        ) from None
