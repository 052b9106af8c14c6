"""Private keys: how they are made, kept in files, and shown to a human.

Two kinds, never one in place of the other: a *transport* key (EC P-384, FIPS 186-5: node
authentication and client certificates) and an *identity* key (Ed25519, RFC 8032: envelopes,
contracts, ledger heads). Private keys are PKCS #8 PEM files (RFC 5958) that only their owner can
read, encrypted where a passphrase is given (`shared/passphrase.py`). What PKCS #8 itself makes of a
passphrase is weak; it is given what scrypt makes of it, whose salt stands above the PEM. Whom a
public key belongs to is decided in `shared/identity.py`.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.canonical import digest
from shared.durable import write_atomically
from shared.errors import TrustError
from shared.passphrase import FILE_VARIABLE, given_passphrase, key_of, new_header

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey


class VerifyKey(Protocol):
    """What a signature is held against: an Ed25519 public key, or a party's keys one after the other."""

    def verify(self, signature: bytes, data: bytes, /) -> None:
        """Return if the signature holds, and raise `InvalidSignature` if not."""


@dataclass(frozen=True)
class KeysInTurn:
    """The keys that one party has had, the oldest first: what any of them has signed holds."""

    keys: tuple[Ed25519PublicKey, ...]

    def verify(self, signature: bytes, data: bytes) -> None:
        """As `VerifyKey.verify`."""
        self.since(signature, data)

    def since(self, signature: bytes, data: bytes) -> Self:
        """The keys from the one on that made this signature; raises `InvalidSignature` if none did."""
        for n, key in enumerate(self.keys):
            try:
                key.verify(signature, data)
            except InvalidSignature:
                continue
            return type(self)(self.keys[n:])
        raise InvalidSignature


class Noting:
    """Keys of one party that note against which of them a signature held."""

    def __init__(self, *keys: Ed25519PublicKey) -> None:
        self.keys = keys
        self._held: Ed25519PublicKey | None = None

    def verify(self, signature: bytes, data: bytes) -> None:
        """As `VerifyKey.verify`."""
        self._held = KeysInTurn(self.keys).since(signature, data).keys[0]

    @property
    def held(self) -> Ed25519PublicKey:
        """The key that made the last signature that held; there must have been one."""
        assert self._held is not None
        return self._held


_LARGEST_KEY_FILE = 16 << 10  # bytes; a P-384 key takes 306, encrypted about 500
_TRANSPORT_ROLE, _IDENTITY_ROLE = "transport key", "identity key"
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def make_transport_key() -> ec.EllipticCurvePrivateKey:
    """A new EC P-384 key from the operating system's entropy."""
    return ec.generate_private_key(ec.SECP384R1())


def make_identity_key() -> Ed25519PrivateKey:
    """A new Ed25519 key from the operating system's entropy."""
    return Ed25519PrivateKey.generate()


def save_key(path: Path, key: PrivateKey) -> None:
    """Write a private key to a file that only its owner can read (mode 0600), encrypted if a passphrase is given."""
    write_key(path, key, passphrase=given_passphrase())


def write_key(path: Path, key: PrivateKey, *, passphrase: str | None) -> None:
    """As `save_key`, under this passphrase, or unencrypted."""
    header = b"" if passphrase is None else new_header(os.urandom(16))
    derived = None if passphrase is None else key_of(header, passphrase)
    kind = serialization.BestAvailableEncryption(derived) if derived else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)
    write_atomically(path, header + pem, mode=0o600)


def load_transport_key(path: Path, *, role: str = _TRANSPORT_ROLE) -> ec.EllipticCurvePrivateKey:
    """Read a P-384 key.

    Args:
        path: the PEM file.
        role: what the reader calls the key in messages.

    Raises:
        TrustError: the file is missing, readable by others, or holds another kind of key.
    """
    key = _load(path, role, under=given_passphrase())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _unusable(role, "is not an EC P-384 private key")
    return key


def load_identity_key(path: Path, *, role: str = _IDENTITY_ROLE) -> Ed25519PrivateKey:
    """Read an Ed25519 key; arguments and errors as `load_transport_key`."""
    key = _load(path, role, under=given_passphrase())
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(role, "is not an Ed25519 private key")
    return key


def transport_pem(key: ec.EllipticCurvePublicKey) -> str:
    """The public key as SubjectPublicKeyInfo PEM: the form in which Flower names a node."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def identity_hex(key: Ed25519PublicKey) -> str:
    """The 32 raw bytes of the public key in lower-case hex."""
    return key.public_bytes_raw().hex()


def read_transport_pem(text: str) -> ec.EllipticCurvePublicKey:
    """Read what `transport_pem` wrote, and only in exactly that form.

    Raises:
        ValueError: not a P-384 public key in its one PEM form.
    """
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not an EC P-384 public key")  # noqa: TRY004 - the text is wrong, not its type
    # One key, one text: rosters are searched, and duplicates refused, by comparing it.
    if transport_pem(key) != text:
        raise ValueError("the PEM form of the public key is not the usual one")
    return key


def read_identity_hex(text: str) -> Ed25519PublicKey:
    """Read what `identity_hex` wrote.

    Raises:
        ValueError: not 64 hex digits.
    """
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def read_identity_pem(text: str) -> Ed25519PublicKey:
    """Read a public key in SubjectPublicKeyInfo PEM (RFC 8410), as other tools write it.

    Raises:
        ValueError: not an Ed25519 public key in PEM form.
    """
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM form") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")  # noqa: TRY004 - the text is wrong, not its type
    return key


def prove_possession(key: ec.EllipticCurvePrivateKey, said: bytes, *, purpose: str) -> str:
    """A signature (ECDSA with SHA-384, deterministic by RFC 6979; hex) that shows who holds a transport key.

    Args:
        key: the transport key.
        said: what its holder says.
        purpose: what that is for; another purpose's signature is void.
    """
    return key.sign(_proved(said, purpose), ec.ECDSA(hashes.SHA384(), deterministic_signing=True)).hex()


def check_possession(public: str, said: bytes, proof: str, *, purpose: str) -> None:
    """Hold what `prove_possession` gave against a public key (PEM).

    Raises:
        TrustError: the holder of another key made it, or something else was said.
    """
    try:
        read_transport_pem(public).verify(bytes.fromhex(proof), _proved(said, purpose), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise TrustError(
            f"The maker of the {purpose} does not hold its transport key.", remedy="Ask its sender to make it again."
        ) from None


def _proved(said: bytes, purpose: str) -> bytes:
    return f"wardround {purpose}\n".encode() + said


def fingerprint(*public: str) -> str:
    """Eight groups of four hex digits to read out over the telephone.

    The first 128 bits of SHA-256 over the public keys, in the forms of `transport_pem` and
    `identity_hex`: enough that nobody finds other keys with the same fingerprint.
    """
    return spaced(digest("\n".join(public).encode())[:32])


def spaced(digits: str) -> str:
    """Digits in groups of four, as they are read out."""
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def load_key(path: Path, role: str, *, or_under: str | None = None) -> PrivateKey:
    """Read a key of either kind, under the passphrase that is given or else another; raises as `load_transport_key`."""
    try:
        key = _load(path, role, under=given_passphrase())
    except TrustError:
        if or_under is None:
            raise
        key = _load(path, role, under=or_under)
    if not isinstance(key, ec.EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise _unusable(role, "is of a kind that is not used here")
    return key


def _load(path: Path, role: str, *, under: str | None) -> object:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_LARGEST_KEY_FILE)
    except OSError as error:
        raise _unusable(role, f"cannot be read ({error.strerror})") from None
    if mode & 0o177:
        raise TrustError(
            f"The {role} has file mode {mode:04o}; other accounts may have read it.",
            remedy=f"Run `chmod 600 {path}`, and make new keys if others use this machine.",
        )
    derived = _derived(pem, role, under) if _ENCRYPTED in pem else None
    try:
        return serialization.load_pem_private_key(pem, password=derived)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if derived is not None:
            raise _locked(role, "is encrypted under another passphrase, or damaged") from None
        raise _unusable(role, "is not a PEM private key") from None


def _derived(pem: bytes, role: str, passphrase: str | None) -> bytes:
    if passphrase is None:
        raise _locked(role, "is encrypted, and no passphrase is given")
    derived = key_of(pem, passphrase)
    if derived is None:
        raise _unusable(role, "is encrypted by other software")
    return derived


def _locked(role: str, why: str) -> TrustError:
    return TrustError(f"The {role} {why}.", remedy=f"Name the passphrase's file by {FILE_VARIABLE}.")


def _unusable(role: str, why: str) -> TrustError:
    of_a_site = role in (_TRANSPORT_ROLE, _IDENTITY_ROLE)  # only then there is another way to new keys
    without = "; without one, move the folder keys/ away and join again" if of_a_site else ", or name another file"
    return TrustError(f"The {role} {why}.", remedy=f"Restore it from your backup{without}.")
