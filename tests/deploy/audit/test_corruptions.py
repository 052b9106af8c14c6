"""Fifty ways to damage a real ledger, each noticed by both verifiers, which agree on where."""

import io
import random
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import rfc8785
from audited import SITE, VERIFIER, Handed
from damaged import WAYS, Lines, flip, swap, take_out, told_by_ours
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.audit.anchors import Anchor
from deploy.audit.words import ANCHORED, OPEN_END, UNSIGNED, verdict
from shared.chain import LONGEST_LINE


def told_by(independent: ModuleType, handed: Handed, lines: Lines, anchors: list[Anchor]) -> str:
    held = {anchor.head: anchor.study for anchor in anchors}
    said = independent.verdict(io.BytesIO(b"".join(lines)), handed.public("identity_key"), SITE, held)
    return re.sub(r"(broken at line \d+|unsigned):?.*", r"\1", said)


def test_there_are_fifty() -> None:
    assert len(WAYS) == 50


@pytest.mark.parametrize("number", range(50), ids=lambda number: f"{number}-{WAYS[number].__name__}")
def test_each_is_caught_at_its_line_by_both(handed: Handed, independent: ModuleType, number: int) -> None:
    way = WAYS[number]
    lines, at = way(handed, random.Random(number))
    assert lines != handed.lines
    found = handed.examined(lines)
    said = verdict(found)
    assert not found.end_anchored
    if way in (take_out, swap):
        assert said == f"broken at line {at}: the entry does not follow the line before it"
    elif way is flip and found.broken:
        assert found.entries + 1 in (at, at + 1)
    elif way is flip:  # the type of a head was hit: an entry that nobody knows, and nobody signed
        assert (said.startswith(OPEN_END), found.unknown.total()) == (True, 1)
    else:
        assert said.startswith(OPEN_END)
    assert told_by_ours(found) == told_by(independent, handed, lines, handed.anchors)


def test_both_accept_the_ledger_as_it_was_handed_over(handed: Handed, independent: ModuleType) -> None:
    assert verdict(handed.examined(handed.lines)) == ANCHORED
    assert told_by(independent, handed, handed.lines, handed.anchors) == ANCHORED
    for anchors in ([], handed.anchors[:1]):
        assert verdict(handed.examined(handed.lines, anchors)) == OPEN_END
        assert told_by(independent, handed, handed.lines, anchors) == OPEN_END


def test_the_whole_written_anew_is_consistent_and_its_anchors_are_missing(handed: Handed) -> None:
    found = handed.examined(handed.written_anew(lambda entry: entry | {"time": "2026-01-02T03:04:05Z"}))
    assert (found.broken, found.signed, found.missing) == (None, found.entries, handed.anchors)


@pytest.mark.parametrize("end", range(1, 43))
def test_both_agree_wherever_the_file_ends(handed: Handed, independent: ModuleType, end: int) -> None:
    lines = handed.lines
    assert len(lines) == 43
    for cut in (lines[:end], [*lines[:end], lines[end][: len(lines[end]) // 2]]):
        for anchors in ([], handed.anchors, handed.anchors[:1], [Anchor(handed.anchors[1].head, "somebody")]):
            found = handed.examined(cut, anchors)
            assert told_by_ours(found) == told_by(independent, handed, cut, anchors)
            assert found.end_anchored <= (cut == lines[:end] and bool(anchors))


# ------------------------------------------------------------ anything at all

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], derandomize=True)


def refused_alike(independent: ModuleType, handed: Handed, data: bytes) -> None:
    lines = list(iter(partial(io.BytesIO(data).readline, LONGEST_LINE), b""))
    found = handed.examined(lines)
    assert not verdict(found).startswith(("consistent", UNSIGNED))
    assert told_by_ours(found) == told_by(independent, handed, lines, handed.anchors)


@settings(MANY, max_examples=2000)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_by_both(handed: Handed, independent: ModuleType, data: bytes) -> None:
    refused_alike(independent, handed, data)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(MANY, max_examples=100_000)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_by_both_in_every_case(
    handed: Handed, independent: ModuleType, data: bytes
) -> None:
    refused_alike(independent, handed, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(MANY, max_examples=500)
@given(value=JSON, extra=st.text(max_size=3))
def test_both_read_the_same_values_in_an_entry(
    handed: Handed, independent: ModuleType, value: object, extra: str
) -> None:
    """Written as each writes it: what one takes for canonical is canonical for the other."""
    text = '{"data":{"x":%s},"n":1,"prev":"%s","time":"2026-01-02T03:04:05Z","type":"note","v":1}\n'
    try:
        written = independent.canonical(value)
    except ValueError:
        written = repr(value)
    lines = [(text % (written + extra, "0" * 64)).encode("utf-8", "surrogatepass")]
    found = handed.examined(lines)
    assert told_by_ours(found) == told_by(independent, handed, lines, handed.anchors)


@settings(MANY, max_examples=500)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_it_writes_numbers_as_the_reference_does(independent: ModuleType, value: float) -> None:
    assert independent.number(value).encode() == rfc8785.dumps(value)


@pytest.mark.parametrize("depth", [61, 62, 63, 64, 65, 300, 900, 5000])
def test_both_stop_at_the_same_depth(handed: Handed, independent: ModuleType, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    text = '{"data":{"x":%s},"n":1,"prev":"%s","time":"2026-01-02T03:04:05Z","type":"note","v":1}\n'
    lines = [(text % (nested, "0" * 64)).encode()]
    said = told_by_ours(handed.examined(lines))
    assert said == ("unsigned" if depth <= 62 else "broken at line 1")  # two levels are the entry's own
    assert said == told_by(independent, handed, lines, [])


# ------------------------------------------------------------ the verifier as a program


def test_it_is_short_and_knows_nothing_of_ours() -> None:
    source = VERIFIER.read_text()
    assert len(source.splitlines()) <= 150
    roots = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert roots <= {*sys.stdlib_module_names, "cryptography"}


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [(b"", 0, ANCHORED), (b"x", 4, "broken at line 1: it is not a canonical JSON object")],
)
def test_it_runs_by_itself(handed: Handed, tmp_path: Path, change: bytes, code: int, said: str) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(change + handed.ledger.read_bytes())
    keys = handed.public("identity_key"), handed.public("coordinator_key")
    words = [sys.executable, "-I", VERIFIER, ledger, keys[0], SITE, handed.journals[-1], keys[1]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (code, said, "")
