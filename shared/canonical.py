"""Canonical bytes: RFC 8785 JSON, and SHA-256 over it.

Whatever is signed, chained or compared is compared as these bytes.
"""

import hashlib
import json
from typing import Any

import rfc8785

from shared.errors import TrustError


def canonical(value: Any) -> bytes:
    """The RFC 8785 (JSON Canonicalization Scheme) bytes of a JSON value.

    Raises:
        ValueError: the value holds something JSON or RFC 8785 cannot say (NaN, integers past 2^53).
    """
    try:
        return bytes(rfc8785.dumps(value))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from None


def parse_canonical(data: bytes) -> Any:
    """Read a JSON value and insist that its bytes are the canonical ones.

    Raises:
        TrustError: the bytes are not JSON, or not in canonical form.
    """
    try:
        value = json.loads(data)
        same = canonical(value) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise TrustError("A signed record is not canonical JSON.", remedy="Ask its sender for the original file.")
    return value


def digest(data: bytes | memoryview) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()
