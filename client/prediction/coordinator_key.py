"""By whose key a released model is checked: one that is given, or that of who leads, as the site knows it.

1. A key is given as 64 hex digits, or as a file with those, with an Ed25519 public key in PEM or a site's key card.
   Whether it is the right one no file can say; its fingerprint is shown, to be compared.
2. Without one, the site's invitation and the mandates that it follows say who leads; so do mandates in a file. A model
   that a former lead signed is refused: it bears no time, and may have been signed with the old key afterwards.
3. It is believed if that very key is named, as in 1 or by the fingerprint under which the site knows it.
"""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.coordinators import Coordinators
from client.join import load_invitation
from client.settings import FILE_NAME, folder_of
from shared.errors import ConfigError, TrustError
from shared.key_card import read_key_card
from shared.keys import Noting, fingerprint, identity_hex, read_identity_hex, read_identity_pem
from shared.mandate import LARGEST, Succession, is_succession, read_succession

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_FINGERPRINT = re.compile(r"\s*([0-9a-fA-F]\s*){32}")
_FORMS = "Name 64 hex digits, a PEM file, a site's key card, or the fingerprint of one whom the site knows."


class ModelSigner(Noting):
    """The keys that may have signed a model; once its signature held, whose it is.

    Args:
        keys: any of them.
        mandates: what says whose they are, if there are any.
        named: whether the key was named by itself, so that it may be a former lead's.
    """

    def __init__(self, *keys: Ed25519PublicKey, mandates: Succession | None = None, named: bool = False) -> None:
        super().__init__(*keys)
        self._mandates, self._named = mandates, named

    @property
    def fingerprint(self) -> str:
        """Of the key that signed."""
        return fingerprint(identity_hex(self.held))

    @property
    def name(self) -> str | None:
        """Who signed, where mandates say it."""
        leads = self._mandates.leads if self._mandates else ()
        return next((lead.name for lead in leads if lead.key == identity_hex(self.held)), None)

    @property
    def words(self) -> str:
        """Name and fingerprint, as far as they are known."""
        return ", ".join(filter(None, (self.name, self.fingerprint)))

    def insist(self) -> None:
        """Rules 2 and 3.

        Raises:
            TrustError: a former lead signed, whose key was not named.
        """
        former = self._mandates.gave_up(self.held) if self._mandates and not self._named else None
        if former is not None:
            raise TrustError(
                f"The model is signed by {former}.",
                remedy="Ask who leads now whether it was released before that day. If it was, name the key as well:"
                f" --coordinator {identity_hex(self.held)}, with the fingerprint {self.fingerprint}.",
            )


def coordinator_key(given: str | None, config: Path | None) -> ModelSigner:
    """The key by which a model is checked, or all that have led.

    Args:
        given: the key, its file or its fingerprint; it comes before the site's own.
        config: the site's site.toml; None looks for one where the command was typed.

    Raises:
        ConfigError: there is none.
        TrustError: what is given is no key, or the invitation is damaged.
    """
    if given is not None and not is_fingerprint(given):
        return _read(given)
    config = config or Path(FILE_NAME)
    if not config.is_file():
        raise ConfigError(
            "Nothing says by whose key the model is to be checked, so it is not used.",
            remedy=f"Name the site's own {FILE_NAME} with --config, or the coordinator's key with --coordinator.",
        )
    folder = folder_of(config)
    known = Coordinators(folder, load_invitation(folder))
    if given is None:
        return ModelSigner(*known.keys.keys, mandates=known.succession)
    wanted = "".join(given.split()).lower()
    for key in known.keys.keys:
        if fingerprint(identity_hex(key)).replace(" ", "") == wanted:
            return ModelSigner(key, mandates=known.succession, named=True)
    raise TrustError("The site knows no coordinator with that fingerprint.", remedy=_FORMS)


def is_fingerprint(given: str) -> bool:
    """Whether a key is named by its fingerprint, which says nothing without the site that knows it."""
    return _FINGERPRINT.fullmatch(given) is not None


def _read(given: str) -> ModelSigner:
    text = given if _HEX.fullmatch(given) else _content(given)
    try:
        if is_succession(text.encode()):
            mandates = read_succession(text.encode())
            return ModelSigner(*mandates.keys().keys, mandates=mandates)
        if text.startswith("{"):
            return ModelSigner(read_identity_hex(read_key_card(text.encode()).coordinator_key), named=True)
        return ModelSigner(read_identity_hex(text) if _HEX.fullmatch(text) else read_identity_pem(text), named=True)
    except ValueError:
        raise TrustError("--coordinator names no Ed25519 public key.", remedy=_FORMS) from None


def _content(given: str) -> str:
    try:
        with Path(given).open("rb") as file:
            return file.read(LARGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"There is no key to read at {given} ({error.strerror}).", remedy=_FORMS) from None
