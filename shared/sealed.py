"""A file that only those whose passphrases it was sealed under can open, all of them together: one or two people.

    mark \\n | 16 bytes of salt | chunks of at most 1 MiB, each 16 bytes longer than what it holds

1. Each passphrase goes through scrypt (RFC 7914; 128 MiB a guess); of the results, in order of their bytes, so that
   nobody need know who was first, HKDF (RFC 5869) makes the key. Whoever has one of two passphrases has nothing.
2. A chunk is sealed by ChaCha20-Poly1305 (RFC 8439). Its nonce is its number and whether it is the last: none can be
   changed, moved or left out, and what is cut off is missed.
3. What is read was authenticated first, chunk by chunk. The mark says what kind of file it is, and is part of the key.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import ConfigError, TrustError

_SALT_BYTES = 16
CHUNK_BYTES, _TAG_BYTES = 1 << 20, 16
_N, _R, _P = 2**17, 8, 1


class Kind(NamedTuple):
    """What kind of file it is: the mark that it begins with, its name, the command that writes it, and whose it is."""

    mark: bytes
    name: str
    command: str
    passphrases: str


FEDERATION = Kind(b"wardround backup 1\n", "backup of a federation", "federation backup", "two passphrases are")
SITE = Kind(b"wardround site backup 1\n", "backup of a site", "site backup", "passphrase is")


def new_header(kind: Kind) -> bytes:
    """What a new file begins with."""
    return kind.mark + os.urandom(_SALT_BYTES)


def read_header(file: BinaryIO, kind: Kind) -> bytes:
    """What a file begins with.

    Raises:
        TrustError: it is none of this kind.
    """
    header = file.read(len(kind.mark) + _SALT_BYTES)
    if not header.startswith(kind.mark) or len(header) != len(kind.mark) + _SALT_BYTES:
        raise TrustError(f"This file is no {kind.name}.", remedy=f"Name what `{kind.command}` wrote.")
    return header


def key_of(header: bytes, passphrases: Sequence[str]) -> bytes:
    """The key of a file, 32 bytes.

    Raises:
        ConfigError: two passphrases are the same.
    """
    if len(set(passphrases)) != len(passphrases):
        raise ConfigError("Both passphrases are the same.", remedy="Let each of two people choose and keep their own.")
    salt = header[-_SALT_BYTES:]
    parts = sorted(
        hashlib.scrypt(one.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=256 << 20, dklen=32) for one in passphrases
    )
    return HKDF(hashes.SHA256(), 32, salt=None, info=header).derive(b"".join(parts))


class Sealing:
    """Takes bytes and writes chunks; `finish` must be called, else nobody can open the file.

    Args:
        file: behind its header.
        key: from `key_of`.
    """

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file, self._cipher = file, ChaCha20Poly1305(key)
        self._held, self._number = bytearray(), 0

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._held += data
        while len(self._held) > CHUNK_BYTES:
            self._seal(bytes(self._held[:CHUNK_BYTES]), last=False)
            del self._held[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk."""
        self._seal(bytes(self._held), last=True)

    def _seal(self, data: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), data, None))
        self._number += 1


class Opening:
    """Gives what a `Sealing` took.

    Args:
        file: behind its header.
        key: from `key_of`.
        kind: for the words of an error.
    """

    def __init__(self, file: BinaryIO, key: bytes, kind: Kind = FEDERATION) -> None:
        self._file, self._cipher, self._kind = file, ChaCha20Poly1305(key), kind
        self._next, self._held, self._number = file.read(CHUNK_BYTES + _TAG_BYTES), bytearray(), 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end only.

        Raises:
            TrustError: the key is another, or the file was changed or cut off.
        """
        while len(self._held) < size and (self._next or self._number == 0):
            self._open()
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _open(self) -> None:
        chunk, self._next = self._next, self._file.read(CHUNK_BYTES + _TAG_BYTES)
        try:
            self._held += self._cipher.decrypt(_nonce(self._number, last=not self._next), chunk, None)
        except InvalidTag:
            raise _unsound(self._kind, first=self._number == 0, long=bool(self._next)) from None
        self._number += 1


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _unsound(kind: Kind, *, first: bool, long: bool) -> TrustError:
    if first:
        return TrustError(
            f"The {kind.passphrases} not {'those' if kind is FEDERATION else 'that'} of this backup,"
            " or it is damaged at its beginning.",
            remedy="Have each person type theirs again; else take another copy.",
        )
    what = "is damaged" if long else "is cut off, or damaged at its end"
    return TrustError(f"The backup {what}; nothing of it was used.", remedy="Take another copy.")
