"""What a site shows its PACS to be let in: a token or a password, from a file that its owner alone may read.

Neither is ever part of a message, a representation or a log.
"""

import base64
import os
import stat
from pathlib import Path

from client.pacs.settings import WebSettings
from shared.errors import TrustError

_MOST_BYTES = 16 << 10


def authorization(settings: WebSettings, base: Path) -> dict[str, str]:
    """The HTTP header that says who asks (RFC 6750, RFC 7617), or none.

    Args:
        settings: name the file.
        base: the folder that relative paths count from.

    Raises:
        TrustError: the file is not there, is open to other accounts, or does not hold what it should.
    """
    if settings.token_file:
        token = _read(base / settings.token_file, "token_file")
        if not token.isascii():
            raise TrustError(
                "token_file holds letters that no token has (not ASCII).",
                remedy="Write the token into it as the PACS gave it, as plain text.",
            )
        return {"Authorization": f"Bearer {token}"}
    if settings.login_file:
        login = _read(base / settings.login_file, "login_file")
        if ":" not in login:
            raise TrustError("login_file holds no user and password.", remedy="Write one line: user:password.")
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}


def _read(path: Path, key: str) -> str:
    try:
        with path.open("rb") as file:
            mode, data = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise TrustError(
            f"{key} cannot be read ({error.strerror}).", remedy=f"Correct data.pacs.web.{key} in site.toml."
        ) from None
    if mode & 0o077:
        raise TrustError(
            f"{key} is readable by other accounts.", remedy="Run `chmod 600` on it, and change what it holds."
        )
    text = data.decode("utf-8", errors="replace").strip()
    if not text or len(data) > _MOST_BYTES or not text.isprintable():
        raise TrustError(f"{key} does not hold one line of text.", remedy="Write the secret alone into it.")
    return text
