"""Signed envelopes: bytes that name their signer, and the rules for opening one.

Layout, big-endian, nothing after the body:

    magic 8 | format 2 | signer length 1 | signer (ASCII) | Ed25519 signature 64 | body

The signature (RFC 8032) covers magic, format, purpose, signer and body, the two names preceded by
their lengths, so that no two different envelopes sign the same bytes (the idea of the DSSE
pre-authentication encoding). The purpose does not travel: both sides know what they are doing, and
an envelope made for one purpose does not open for another.

An envelope opens if, in this order:

1. it is no larger than the reader allows and starts with the magic;
2. its format number is this software's;
3. its header is whole;
4. its signer is one of those that the reader knows;
5. its signature holds for that signer's key, the reader's purpose and the body.

Nothing of the body is looked at before rule 5. What the body says, whom it is for, whether it is
fresh and whether it came before is left to the reader; a purpose that names the recipient keeps one
site's message from being shown to another.
"""

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import ProtocolError, TrustError
from shared.keys import VerifyKey

MAGIC = b"WARDENV\n"
FORMAT = 1
_START = struct.Struct(">8sHB")
_SIGNATURE_BYTES = 64
_SIGNER = re.compile(rb"[a-z0-9][a-z0-9-]{0,47}")


class Opened(NamedTuple):
    """An envelope's content after its signature held: who signed it, and the bytes."""

    signer: str
    body: bytes


def seal(body: bytes, *, key: Ed25519PrivateKey, signer: str, purpose: str) -> bytes:
    """Sign a body for one purpose.

    Args:
        body: canonical bytes of what is said.
        key: the signer's identity key.
        signer: a site's name, or ``coordinator``.
        purpose: what the envelope is for, as the reader will name it; 1 to 255 bytes of UTF-8.

    Raises:
        ValueError: the signer is not a name, or the purpose is empty or too long.
    """
    name = signer.encode()
    if not _SIGNER.fullmatch(name):
        raise ValueError("the signer must be a site's name or 'coordinator'")
    signature = key.sign(_signed_bytes(purpose, name, body))
    return _START.pack(MAGIC, FORMAT, len(name)) + name + signature + body


def open_envelope(data: bytes, *, keys: Mapping[str, VerifyKey], purpose: str, limit: int = 8 << 20) -> Opened:
    """Check an envelope by the module's rules and hand out its signer and body.

    Args:
        data: the whole envelope.
        keys: identity keys by signer, only of those who may sign for this purpose now.
        purpose: what the reader expects the envelope to be for.
        limit: largest envelope to look at, in bytes.

    Raises:
        ProtocolError: the envelope has another format number (both are named).
        TrustError: any other rule does not hold.
    """
    # 1. size and magic
    if len(data) > limit:
        raise TrustError(
            f"A signed message has {len(data)} bytes; at most {limit} are accepted.",
            remedy="Ask its sender what was sent; nothing of it was read.",
        )
    if len(data) < _START.size or not data.startswith(MAGIC):
        raise TrustError("This is not a signed message of Wardround.", remedy="Check which file or peer it came from.")
    # 2. format
    _, found, length = _START.unpack_from(data)
    if found != FORMAT:
        raise ProtocolError(
            f"A signed message has envelope format {found}; this software reads format {FORMAT}.",
            remedy="Install the same Wardround version on both sides.",
        )
    # 3. header
    name, signature, body = _split(data, length)
    # 4. signer
    signer = name.decode("ascii")
    if signer not in keys:
        raise TrustError(
            f"A message was signed as {signer!r}, who may not sign here.",
            remedy="Compare the roster with the sites that should take part.",
        )
    # 5. signature
    try:
        keys[signer].verify(signature, _signed_bytes(purpose, name, body))
    except InvalidSignature:
        raise TrustError(
            f"A message in the name of {signer!r} does not carry a valid signature for this purpose.",
            remedy="Compare the sender's key fingerprint with the roster; if it agrees, the message was altered.",
        ) from None
    return Opened(signer, body)


def _split(data: bytes, length: int) -> tuple[bytes, bytes, bytes]:
    name_end = _START.size + length
    name = data[_START.size : name_end]
    if len(data) < name_end + _SIGNATURE_BYTES or not _SIGNER.fullmatch(name):
        raise TrustError("The header of a signed message is damaged.", remedy="Ask its sender to send it again.")
    return name, data[name_end : name_end + _SIGNATURE_BYTES], data[name_end + _SIGNATURE_BYTES :]


def _signed_bytes(purpose: str, name: bytes, body: bytes) -> bytes:
    label = purpose.encode()
    if not 0 < len(label) < 256:
        raise ValueError("a purpose has 1 to 255 bytes")
    return _START.pack(MAGIC, FORMAT, len(label)) + label + bytes([len(name)]) + name + body
