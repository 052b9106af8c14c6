"""Canonical bytes: those of the reference package, for every value that it knows."""

import json
import math
import re
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical, parse_canonical
from shared.errors import TrustError


class Word(StrEnum):
    TRAIN = "train"


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**17), 10**17, places=2).map(float)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | FLOATS
LEAVES = st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(Word)
KEYS = st.text(max_size=8) | st.sampled_from(Word)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=40)


@given(VALUES)
def test_the_bytes_are_those_of_the_reference(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.lists(st.integers(-5, 5), max_size=50) | st.lists(st.integers() | LEAVES | st.lists(st.integers())))
def test_a_run_of_integers_is_written_or_refused_as_the_reference_does(values: list[int]) -> None:
    try:
        expected = rfc8785.dumps(values)
    except rfc8785.CanonicalizationError:
        with pytest.raises(ValueError, match=r".+"):
            canonical(values)
    else:
        assert canonical(values) == canonical(tuple(values)) == expected


@pytest.mark.parametrize("value", [1e-4, 9.999999999999999e-05, 9999999999999998.0, 1e16, -0.0, 12.0, -(2.0**53), 1e21])
def test_a_float_at_the_end_of_pythons_plain_notation_is_written_as_the_reference_does(value: float) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_keys_are_ordered_by_their_utf_16() -> None:
    """U+1F600 is two code units that begin with D83D, so it comes before U+FF5E (RFC 8785, 3.2.3)."""
    assert canonical({"\uff5e": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\uff5e":1}'.encode()


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**53, -(2**53), [1, 2**53], {1: 2}, {"a": object()}, "\ud800", {"\udfff": 1}]
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)


@given(VALUES)
def test_what_was_written_is_read_as_python_reads_it(value: Any) -> None:
    data = canonical(value)
    try:
        found = parse_canonical(data)
    except TrustError:  # a whole float past 2^53 is written as an integer that no JSON number holds
        assert re.search(rb"\d{16}", data)
    else:
        assert found == json.loads(data) and repr(found) == repr(json.loads(data))


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b"[1, 2]", b"1.0", b'"\\u0061"', b"", b"[" * 100_000, b"1e2"])
def test_other_bytes_for_the_same_value_are_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        parse_canonical(data)
