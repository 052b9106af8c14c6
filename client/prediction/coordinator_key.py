"""By whose key a released model is checked: one that is given, or the one on the site's own invitation.

A key is given as 64 hex digits, or as a file with those, with an Ed25519 public key in PEM, a site's key card, or
the mandates of a federation that was handed over.
Whether it is the right one no file can say; its fingerprint is shown, to be compared.
"""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.coordinators import Coordinators
from client.join import load_invitation
from client.settings import FILE_NAME, folder_of
from shared.errors import ConfigError, TrustError
from shared.key_card import read_key_card
from shared.keys import Noting, read_identity_hex, read_identity_pem
from shared.mandate import LARGEST, read_succession

_HEX = re.compile(r"[0-9a-fA-F]{64}")


def coordinator_key(given: str | None, config: Path | None) -> Noting:
    """The coordinator's public key, or all that have led; it notes which of them signed.

    Args:
        given: the key or its file; it comes before the invitation's.
        config: the site's site.toml; None looks for one where the command was typed.

    Raises:
        ConfigError: there is none.
        TrustError: what is given is no key, or the invitation is damaged.
    """
    if given is not None:
        return Noting(*_read(given))
    config = config or Path(FILE_NAME)
    if not config.is_file():
        raise ConfigError(
            "Nothing says by whose key the model is to be checked, so it is not used.",
            remedy=f"Name the site's own {FILE_NAME} with --config, or the coordinator's key with --coordinator.",
        )
    folder = folder_of(config)
    return Noting(*Coordinators(folder, load_invitation(folder)).keys.keys)


def _read(given: str) -> tuple[Ed25519PublicKey, ...]:
    text = given if _HEX.fullmatch(given) else _content(given)
    try:
        if text.startswith('{"mandates":'):
            return read_succession(text.encode()).keys().keys
        if text.startswith("{"):
            return (read_identity_hex(read_key_card(text.encode()).coordinator_key),)
        return (read_identity_hex(text) if _HEX.fullmatch(text) else read_identity_pem(text),)
    except ValueError:
        raise TrustError(
            "--coordinator names no Ed25519 public key.", remedy="Name 64 hex digits, a PEM file, or a site's key card."
        ) from None


def _content(given: str) -> str:
    try:
        with Path(given).open("rb") as file:
            return file.read(LARGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(
            f"There is no key to read at {given} ({error.strerror}).",
            remedy="Name 64 hex digits, a PEM file, or a site's key card.",
        ) from None
