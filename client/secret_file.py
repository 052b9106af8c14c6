"""A secret of the site in a file of its own, which only its owner may read; never part of a message or a log."""

import base64
import os
import stat
from pathlib import Path

from shared.errors import TrustError

_MOST_BYTES = 16 << 10


def read_secret(path: Path, *, table: str, key: str) -> str:
    """The one line of a file.

    Args:
        path: the file.
        table: the table of site.toml that names it.
        key: the key there.

    Raises:
        TrustError: the file is not there, is open to other accounts, or holds something else.
    """
    try:
        with path.open("rb") as file:
            mode, data = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise TrustError(
            f"{key} cannot be read ({error.strerror}).", remedy=f"Correct {table}.{key} in site.toml."
        ) from None
    if mode & 0o077:
        raise TrustError(
            f"{key} is readable by other accounts.", remedy="Run `chmod 600` on it, and change what it holds."
        )
    text = data.decode("utf-8", errors="replace").strip()
    if not text or len(data) > _MOST_BYTES or not text.isprintable():
        raise TrustError(f"{key} does not hold one line of text.", remedy="Write the secret alone into it.")
    return text


def read_login(path: Path, *, table: str, key: str) -> str:
    """As `read_secret`, of a file that holds ``user:password``."""
    login = read_secret(path, table=table, key=key)
    if ":" not in login:
        raise TrustError(f"{key} holds no user and password.", remedy="Write one line: user:password.")
    return login


def basic(login: str) -> str:
    """What HTTP's basic authentication says of ``user:password`` (RFC 7617, in UTF-8)."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"
