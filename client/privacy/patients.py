"""How a site names its patients to itself: keyed hashes, under a key that never leaves.

`keys/patients.key` holds 256 bits of the operating system, in hex, readable by its owner alone. The budget and
the list of who has withdrawn know patients by this hash and by nothing else. It is taken of the federation's
pseudonym, so that a new key or another federation's salt gives other hashes: `key_check` tells.
"""

import hashlib
import hmac
import os
import stat
from pathlib import Path

from client.imaging.catalogue import pseudonym
from shared.durable import locked, write_atomically
from shared.enrolment import read_invitation
from shared.errors import TrustError
from shared.randomness import PrivateRandom

KEY_FILE = Path("keys") / "patients.key"
KEYED_BYTES = 16  # of HMAC-SHA256's 32: two of 10^6 patients share a hash with a probability below 10^-26
_KEY_BYTES = 32


def patient_key(folder: Path) -> bytes:
    """The key of the site in `folder`, made if there is none.

    Raises:
        TrustError: the file is readable by others, or holds no key.
    """
    path = folder / KEY_FILE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with locked(path.parent):
        if not path.exists():
            write_atomically(path, PrivateRandom().bytes(_KEY_BYTES).hex().encode(), mode=0o600)
    with path.open("rb") as file:
        mode, text = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(2 * _KEY_BYTES + 1)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if mode & 0o177 or len(key) != _KEY_BYTES:
        raise TrustError(
            "The key of the patients' hashes is damaged, or readable by other accounts.",
            remedy=f"Restore {KEY_FILE} from your backup, or run `chmod 600` on it.",
        )
    return key


def patient_salt(folder: Path) -> str:
    """The federation's salt (hex) for pseudonyms, from the invitation of the site in `folder`."""
    return read_invitation((folder / "invitation.json").read_bytes()).patient_salt


def pseudonym_here(folder: Path, identifier: str) -> str:
    """The pseudonym that the images here give a patient, outer blanks aside, as every reader of images takes them."""
    return pseudonym(bytes.fromhex(patient_salt(folder)), identifier.strip())


def keyed(key: bytes, pseudonym: str) -> bytes:
    """HMAC-SHA256 (RFC 2104) of a pseudonym, cut to `KEYED_BYTES`."""
    return hmac.digest(key, b"patient\0" + pseudonym.encode(), "sha256")[:KEYED_BYTES]


def key_check(key: bytes, salt: str) -> str:
    """What tells (hex) whether hashes were made with this key and this salt of the federation."""
    return hmac.new(key, b"check\0" + salt.encode(), hashlib.sha256).hexdigest()
