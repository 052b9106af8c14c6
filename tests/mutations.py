"""What a hostile or broken peer might send: something sound, with a few changes to it.

A change is its kind and two numbers, so that it is cheap to draw and can be named. Changes of bytes hit the
reader's first rules; changes of values are written canonically again wherever they can be, so that they pass
those rules and hit the ones behind them.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shared.canonical import canonical

sizes = pytest.mark.parametrize(
    "inputs", [2_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**40 + 1, 2**53 - 1, 2**53, -(2**63), 10**4000),
    *(
        0.5,
        -0.0,
        1e300,
        math.nan,
        math.inf,
        "",
        "0",
        "1",
        "1.0",
        "true",
        "nan",
        "a" * 64,
        "A" * 64,
        "0" * 63,
        "z" * 5000,
    ),
    *(
        "\u0662",
        "\ud800",
        "\u202e",
        "\x00",
        "e\u0301",
        "\u00e9",
        "\U0001f480",
        "\ufeff",
        "coordinator",
        "../etc",
        "a b",
    ),
    *([], {}, [[]], [None] * 300, {"": 0}, {"\ufb33": 0, "\U0001f480": 1}, {"note": "Erika Mustermann"}),
]
for _depth in (70, 200):
    _nested: Any = []
    for _ in range(_depth):
        _nested = [_nested]
    ODD.append(_nested)
PIECES = [b"", b"\x00", b"\xff", b"\n", b"\r\n", b" ", b'"', b"{", b"}", b"[" * 20_000, b"9" * 5_000, b"\xed\xa0\x80"]
_AT_ONCE = 50
_SCRIPT = 20  # bytes that one input is drawn from: how many changes, which one is changed, and 6 for each change


class Change(NamedTuple):
    """One thing done to an input: what, and two numbers that say where and how."""

    kind: str
    a: int
    b: int


class Input(NamedTuple):
    """Which of a target's sound ones is changed (any number), and how."""

    pick: int
    todo: tuple[Change, ...]


def flip(data: bytes, a: int, b: int) -> bytes:
    place = a % len(data)
    return data[:place] + bytes([data[place] ^ (1 + b % 255)]) + data[place + 1 :]


def cut(data: bytes, a: int, b: int) -> bytes:
    return data[: a % len(data)]


def drop(data: bytes, a: int, b: int) -> bytes:
    place = a % len(data)
    return data[:place] + data[place + 1 + b % 64 :]


def splice(data: bytes, a: int, b: int) -> bytes:
    """A piece of it once more, in another place."""
    start, place = a % len(data), b % len(data)
    return data[:place] + data[start : start + 1 + a % 97] + data[place:]


def insert(data: bytes, a: int, b: int) -> bytes:
    place = a % (len(data) + 1)
    return data[:place] + PIECES[b % len(PIECES)] + data[place:]


def replace(value: Any, a: int, b: int) -> Any:
    """Another value in some place; the whole is such a place, too."""
    places = list(_places(value))
    if not a % (len(places) + 1):
        return ODD[b % len(ODD)]
    holder, key = places[a % len(places)]
    holder[key] = ODD[b % len(ODD)]
    return value


def remove(value: Any, a: int, b: int) -> Any:
    if places := list(_places(value)):
        holder, key = places[a % len(places)]
        del holder[key]
    return value


def rename(value: Any, a: int, b: int) -> Any:
    if places := [(holder, key) for holder, key in _places(value) if isinstance(holder, dict)]:
        holder, key = places[a % len(places)]
        holder[_name(b)] = holder.pop(key)
    return value


def extend(value: Any, a: int, b: int) -> Any:
    """A field that nobody knows."""
    if holders := [value, *(holder[key] for holder, key in _places(value))]:
        holder = [one for one in holders if isinstance(one, dict)]
        if holder:
            holder[a % len(holder)][_name(b)] = ODD[a % len(ODD)]
    return value


def exchange(value: Any, a: int, b: int) -> Any:
    """Two values that change places."""
    if places := list(_places(value)):
        (one, here), (other, there) = places[a % len(places)], places[b % len(places)]
        before = json.dumps(other[there])  # a copy: one may stand within the other
        other[there] = json.loads(json.dumps(one[here]))
        if isinstance(one, dict) or here < len(one):
            one[here] = json.loads(before)
    return value


def repeat(data: bytes, a: int, b: int) -> bytes:
    """A key that stands there twice."""
    keys = [place for place in range(len(data)) if data[place : place + 2] == b'":']
    if not keys:
        return data
    end = keys[a % len(keys)] + 2
    start = data.rfind(b'"', 0, end - 2)
    return data[:start] + data[start:end] + (b"0,", b"null,", b'"",')[b % 3] + data[start:]


OF_BYTES: dict[str, Callable[[bytes, int, int], bytes]] = {
    one.__name__: one for one in (flip, cut, drop, splice, insert)
}
OF_VALUES: dict[str, Callable[[Any, int, int], Any]] = {
    one.__name__: one for one in (replace, remove, rename, extend, exchange)
}
OF_TEXT = {**OF_BYTES, "repeat": repeat}


def changed(data: bytes, todo: Sequence[Change]) -> bytes:
    """What becomes of JSON, or of any bytes if only changes of bytes are asked for."""
    for kind, a, b in todo:
        if data:
            data = OF_TEXT[kind](data, a, b) if kind in OF_TEXT else _rewritten(data, OF_VALUES[kind], a, b)
    return data


def judge(check: Callable[[Input], None], *, inputs: int, kinds: Sequence[str] = (*OF_VALUES, *OF_TEXT)) -> None:
    """Hand a check so many inputs, the same with every run; Hypothesis draws them `_AT_ONCE` at a time.

    An example of its own for each would cost ten times what most readers take for an input. Nothing is shrunk:
    the input that a check fails for is named, and is short.
    """

    @settings(max_examples=inputs // _AT_ONCE, phases=[Phase.generate], derandomize=True, database=None)
    @given(st.binary(min_size=_AT_ONCE * _SCRIPT, max_size=_AT_ONCE * _SCRIPT))
    def run(scripts: bytes) -> None:
        for start in range(0, len(scripts), _SCRIPT):
            drawn = _input(scripts[start : start + _SCRIPT], kinds)
            try:
                check(drawn)
            except BaseException as error:
                error.add_note(f"with the input {drawn}")
                raise

    run()


def _input(script: bytes, kinds: Sequence[str]) -> Input:
    todo = []
    for start in range(2, 2 + 6 * (1 + script[0] % 3), 6):
        a, b = int.from_bytes(script[start + 1 : start + 4]), int.from_bytes(script[start + 4 : start + 6])
        todo.append(Change(kinds[script[start] % len(kinds)], a, b))
    return Input(script[1], tuple(todo))


def _rewritten(data: bytes, change: Callable[[Any, int, int], Any], a: int, b: int) -> bytes:
    try:
        value = change(json.loads(data), a, b)
    except (ValueError, RecursionError):  # an earlier change left no JSON
        return data
    try:
        return canonical(value)
    except (ValueError, RecursionError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every (holder, key) within a value, outer ones first."""
    waiting = [value]
    for holder in waiting:
        keys: Any = holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            waiting.append(holder[key])


def _name(number: int) -> str:
    return ("note", "Type", "v", "\u00e9", "", "type", "protocol", "__class__")[number % 8]
