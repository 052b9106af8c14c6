"""Canonical bytes: RFC 8785 JSON, and SHA-256 over it.

Whatever is signed, chained or compared is compared as these bytes. Every entry and envelope passes here
several times, some with thousands of counts; so common values are written by fast means, and the others
by the reference package.
"""

import hashlib
from collections.abc import Collection, Sequence
from json.encoder import encode_basestring as _quoted  # escapes as RFC 8785, section 3.2.2.2 does
from typing import Any

import rfc8785
from pydantic_core import from_json, to_json

from shared.errors import TrustError

_LARGEST = 2**53 - 1  # what a JSON number holds exactly (RFC 8785, section 3.2.2.3)
_PLAIN_FROM, _PLAIN_TO = 1e-4, 1e16  # between them Python writes a float without an exponent, and so does RFC 8785
_LITERALS = {None: "null", True: "true", False: "false"}


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
        value = from_json(data)
        same = canonical(value) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise TrustError(
            "A signed record is damaged: it is not in the form in which it was written.",
            remedy="Ask its sender for the original file.",
        )
    return value


def digest(data: bytes | memoryview) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict:
        return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in _in_order(value)]) + "}"
    if kind is int and -_LARGEST <= value <= _LARGEST:
        return str(value)
    if value is None or kind is bool:
        return _LITERALS[value]
    if kind in (list, tuple):
        return _integers(value) or "[" + ",".join(map(_text, value)) + "]"
    return _float_or_rare(value)


def _integers(values: Sequence[Any]) -> str | None:
    """The text of a run of integers; None if they are something else, or out of bounds."""
    if not values or type(values[0]) is not int:
        return None
    text = to_json(values)
    if text.translate(None, b"-,0123456789") != b"[]":  # any other type shows in the text
        return None
    distinct = set(values)  # of thousands of counts most are equal
    return text.decode() if min(distinct) >= -_LARGEST and max(distinct) <= _LARGEST else None


def _float_or_rare(value: Any) -> str:
    if type(value) is float and _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return repr(value).removesuffix(".0")
    return bytes(rfc8785.dumps(value)).decode()


def _in_order(keys: Collection[Any]) -> list[Any]:
    """By UTF-16 code units, as RFC 8785, section 3.2.3 asks; ASCII has the same order as it stands."""
    return sorted(keys) if all(map(str.isascii, keys)) else sorted(keys, key=_utf16)


def _utf16(key: Any) -> bytes:
    return str.encode(key, "utf-16be")
