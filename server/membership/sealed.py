"""A file that only two people together can open: encrypted under both of their passphrases.

    wardround backup 1 \\n | 16 bytes of salt | chunks of at most 1 MiB, each 16 bytes longer than what it holds

1. Each passphrase goes through scrypt (RFC 7914; 128 MiB a guess); of both results, in order of their bytes, so that
   nobody need know who was first, HKDF (RFC 5869) makes the key. Whoever has one passphrase has nothing.
2. A chunk is sealed by ChaCha20-Poly1305 (RFC 8439). Its nonce is its number and whether it is the last: none can be
   changed, moved or left out, and what is cut off is missed.
3. What is read was authenticated first, chunk by chunk.
"""

import hashlib
import os
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import ConfigError, TrustError

_MARK, _SALT_BYTES = b"wardround backup 1\n", 16
CHUNK_BYTES, _TAG_BYTES = 1 << 20, 16
_N, _R, _P = 2**17, 8, 1


def new_header() -> bytes:
    """What a new file begins with."""
    return _MARK + os.urandom(_SALT_BYTES)


def read_header(file: BinaryIO) -> bytes:
    """What a file begins with.

    Raises:
        TrustError: it is none of these files.
    """
    header = file.read(len(_MARK) + _SALT_BYTES)
    if not header.startswith(_MARK) or len(header) != len(_MARK) + _SALT_BYTES:
        raise TrustError("This file is no backup of a federation.", remedy="Name what `federation backup` wrote.")
    return header


def key_of(header: bytes, passphrases: tuple[str, str]) -> bytes:
    """The key of a file, 32 bytes.

    Raises:
        ConfigError: both passphrases are the same.
    """
    if passphrases[0] == passphrases[1]:
        raise ConfigError("Both passphrases are the same.", remedy="Let each of two people choose and keep their own.")
    salt = header[len(_MARK) :]
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
    """

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file, self._cipher = file, ChaCha20Poly1305(key)
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
            raise _unsound(first=self._number == 0, long=bool(self._next)) from None
        self._number += 1


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _unsound(*, first: bool, long: bool) -> TrustError:
    if first:
        return TrustError(
            "The two passphrases are not those of this backup, or it is damaged at its beginning.",
            remedy="Have both people type theirs again; else take another copy.",
        )
    what = "is damaged" if long else "is cut off, or damaged at its end"
    return TrustError(f"The backup {what}; nothing of it was used.", remedy="Take another copy.")
