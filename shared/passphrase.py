"""The passphrase that private keys are encrypted under: where it comes from, and how it becomes a key.

It is taken from the first of these that is set, and from no command line, which every account could read:

1. `WARDROUND_PASSPHRASE_FILE`: a file that only its owner can read;
2. the systemd credential `wardround-passphrase` (`LoadCredential=` or `LoadCredentialEncrypted=`), which systemd
   names by `CREDENTIALS_DIRECTORY`;
3. `WARDROUND_PASSPHRASE`: the passphrase itself.

The server's children inherit the variables; a site's worker and the programs of its policy do not. This is the one
place that reads them.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from shared.errors import ConfigError, TrustError

FILE_VARIABLE = "WARDROUND_PASSPHRASE_FILE"
VARIABLE = "WARDROUND_PASSPHRASE"
CREDENTIAL = "wardround-passphrase"
SHORTEST = 12  # characters; a machine may keep it, so nobody need remember it
_LARGEST = 4096  # bytes
_N, _R, _P = 2**15, 8, 1  # scrypt (RFC 7914): 32 MiB and about a tenth of a second a guess
_HEADER = re.compile(rb"# scrypt 15 8 1 ([0-9a-f]{32})\n")


def given_passphrase() -> str | None:
    """The passphrase by the module's order; None if none is set.

    Raises:
        ConfigError: what is named cannot be read, or is too short.
        TrustError: its file is open to others.
    """
    if path := os.environ.get(FILE_VARIABLE):
        return read_passphrase(Path(path))
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder) / CREDENTIAL
        if credential.is_file():
            return long_enough(_first_line(credential), f"The credential {CREDENTIAL}")
    if (said := os.environ.get(VARIABLE)) is not None:
        return long_enough(said, VARIABLE)
    return None


def without_passphrase(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that holds no key."""
    secret = (FILE_VARIABLE, VARIABLE, "CREDENTIALS_DIRECTORY")
    return {name: value for name, value in environment.items() if name not in secret}


def read_passphrase(path: Path) -> str:
    """The first line of a file; raises as `given_passphrase`."""
    text = _first_line(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o177:
        raise TrustError(
            "The passphrase's file can be read by other accounts.", remedy=f"Run `chmod 600 {path}`, and take another."
        )
    return long_enough(text, "The passphrase's file")


def long_enough(text: str, what: str) -> str:
    """The passphrase, which `what` gave; raises `ConfigError` if it is too short."""
    if len(text) < SHORTEST:
        raise ConfigError(
            f"{what} has fewer than {SHORTEST} characters.", remedy="Take a longer one, such as from a generator."
        )
    return text


def new_header(salt: bytes) -> bytes:
    """The line that stands above an encrypted key; 16 random bytes of salt."""
    return f"# scrypt 15 8 1 {salt.hex()}\n".encode()


def key_of(header: bytes, passphrase: str) -> bytes | None:
    """What the file below a header is encrypted under (64 hex digits); None if that is no header of ours."""
    if (found := _HEADER.match(header)) is None:
        return None
    salt = bytes.fromhex(found[1].decode())
    whole = hashlib.scrypt(passphrase.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=64 << 20, dklen=32)
    return whole.hex().encode()


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode().partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            "The passphrase's file cannot be read as text.", remedy=f"Look at {FILE_VARIABLE} and who may read it."
        ) from None
