"""Canonical bytes: RFC 8785 JSON, and SHA-256 over it.

Whatever is signed, chained or compared is compared as these bytes. Every entry and envelope passes here
several times, some with thousands of counts; so containers, strings and runs of integers are written by
fast means, and every other value, floats first of all, by the reference package.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import rfc8785

from shared.errors import TrustError

_LARGEST = 2**53 - 1  # what a JSON number holds exactly (RFC 8785, section 3.2.2.3)
_PLAIN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # for strings and integers as RFC 8785 writes them


def canonical(value: Any) -> bytes:
    """The RFC 8785 (JSON Canonicalization Scheme) bytes of a JSON value.

    Raises:
        ValueError: the value holds something JSON or RFC 8785 cannot say (NaN, integers past 2^53).
    """
    try:
        return _text(value).encode()
    except (rfc8785.CanonicalizationError, TypeError) as error:  # TypeError: a key that is no string
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


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _PLAIN.encode(value)
    if kind is dict:
        return "{" + ",".join(f"{_key(key)}:{_text(value[key])}" for key in sorted(value, key=_utf16)) + "}"
    if kind in (list, tuple):
        if _plain_integers(value):
            return _PLAIN.encode(value)
        return "[" + ",".join(map(_text, value)) + "]"
    return bytes(rfc8785.dumps(value)).decode()


def _plain_integers(values: Sequence[Any]) -> bool:
    return set(map(type, values)) == {int} and min(values) >= -_LARGEST and max(values) <= _LARGEST


def _key(key: Any) -> str:
    return _PLAIN.encode(str.__str__(key))  # of a StrEnum, its value


def _utf16(key: Any) -> bytes:
    return str.encode(key, "utf-16be")  # the order that RFC 8785, section 3.2.3 asks for
