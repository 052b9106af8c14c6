"""What a site shows its PACS to be let in: a token or a password, from a file that its owner alone may read.

Neither is ever part of a message, a representation or a log.
"""

from pathlib import Path

from client.pacs.settings import WebSettings
from client.secret_file import basic, read_login, read_secret
from shared.errors import TrustError

_TABLE = "data.pacs.web"


def authorization(settings: WebSettings, base: Path) -> dict[str, str]:
    """The HTTP header that says who asks (RFC 6750, RFC 7617), or none.

    Args:
        settings: name the file.
        base: the folder that relative paths count from.

    Raises:
        TrustError: the file is not there, is open to other accounts, or does not hold what it should.
    """
    if settings.token_file:
        token = read_secret(base / settings.token_file, table=_TABLE, key="token_file")
        if not token.isascii():
            raise TrustError(
                "token_file holds letters that no token has (not ASCII).",
                remedy="Write the token into it as the PACS gave it, as plain text.",
            )
        return {"Authorization": f"Bearer {token}"}
    if settings.login_file:
        return {"Authorization": basic(read_login(base / settings.login_file, table=_TABLE, key="login_file"))}
    return {}
