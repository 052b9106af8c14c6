"""A chain shows every change, and says how far its last signature reaches."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical
from shared.chain import DEEPEST, LONGEST_LINE, NO_ENTRY, Tip, Verdict, timestamp, verify
from shared.errors import ProtocolError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = "2026-01-02T03:04:05Z"
DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger-format.md"


def chain(*types: str) -> list[bytes]:
    tip, lines = Tip(), []
    for place, name in enumerate(types):
        if name == "head":
            line = tip.head_line(key=KEY, signer="north", time=NOW)
        else:
            line = tip.next_line(name, {"place": place}, time=NOW)
        lines.append(line + b"\n")
        _, tip = tip.follow(line)
    return lines


def check(lines: list[bytes], signer: str = "north") -> Verdict:
    return verify(lines, public_key=KEY.public_key(), signer=signer)


def rewritten(lines: list[bytes], at: int, **fields: Any) -> list[bytes]:
    """The chain with one entry changed and everything after it chained anew, but not signed anew."""
    tip, out = Tip(), []
    for place, old in enumerate(lines):
        entry = {**json.loads(old), "n": tip.count + 1, "prev": tip.head}
        line = canonical({**entry, **fields} if place == at else entry)
        out.append(line + b"\n")
        _, tip = tip.follow(line)
    return out


def test_the_documented_vector_verifies() -> None:
    key, lines, hashes = re.findall(r"```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[-3:]
    verdict = verify(
        lines.encode().splitlines(keepends=True),
        public_key=Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.strip())),
        signer="north",
    )
    assert verdict == Verdict(True, 3, hashes.split()[-1], 3)
    assert bytes.fromhex(key.strip()) == KEY.public_key().public_bytes_raw()
    assert [json.loads(line)["prev"] for line in lines.splitlines()] == [NO_ENTRY, *hashes.split()[:2]]


def test_a_verdict_says_how_far_the_signature_reaches() -> None:
    assert check([]) == Verdict(True, 0, NO_ENTRY, 0)
    assert not check([]).end_signed
    signed = check(chain("open", "release", "head"))
    assert signed.ok
    assert signed.end_signed
    open_end = check(chain("open", "head", "release"))
    assert (open_end.ok, open_end.signed_entries, open_end.end_signed) == (True, 2, False)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_noticed_at_its_line_or_the_next(place: int, change: int) -> None:
    lines = chain("open", "release", "head")
    whole = bytearray(b"".join(lines))
    place %= len(whole)
    whole[place] ^= change
    verdict = check(bytes(whole).splitlines(keepends=True))
    line = 1 + sum(place >= sum(map(len, lines[:i])) for i in (1, 2))
    if verdict.ok:  # the head's own type was hit: an unknown entry now, so that nothing vouches for the end
        assert (line, verdict.end_signed) == (3, False)
    else:
        assert verdict.first_bad_line in (line, line + 1)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_line_taken_out_is_noticed(gone: int) -> None:
    lines = chain("open", "release", "release", "head")
    del lines[gone]
    verdict = check(lines)
    assert (verdict.ok, verdict.first_bad_line, verdict.reason) == (
        False,
        gone + 1,
        "The entry does not follow the line before it.",
    )


def test_lines_swapped_or_repeated_are_noticed() -> None:
    one, two, head = chain("open", "release", "head")
    assert check([two, one, head]).first_bad_line == 1
    assert check([one, one, two, head]).first_bad_line == 2


def test_a_chain_rewritten_before_a_head_fails_at_the_head() -> None:
    lines = rewritten(chain("open", "release", "head", "release"), 1, data={"place": "other"})
    verdict = check(lines)
    assert (verdict.ok, verdict.entries, verdict.first_bad_line) == (False, 2, 3)
    assert "signature does not hold" in verdict.reason


def test_an_end_cut_off_after_a_head_is_not_noticed_and_not_claimed() -> None:
    lines = chain("open", "head", "release", "head")
    assert check(lines[:3]) == Verdict(True, 3, json.loads(lines[3])["prev"], 2)


def test_heads_of_others_are_refused() -> None:
    lines = chain("open", "head")
    assert check(lines, signer="south").first_bad_line == 2
    other = verify(lines, public_key=Ed25519PrivateKey.generate().public_key(), signer="north")
    assert (other.ok, other.first_bad_line) == (False, 2)


@pytest.mark.parametrize("data", [{}, {"signer": "north"}, {"signer": "north", "signature": "zz"}, {"signer": 1}])
def test_a_head_without_a_signature_is_refused(data: dict[str, Any]) -> None:
    assert check(rewritten(chain("open", "head"), 1, data=data)).first_bad_line == 2


def test_a_head_moved_to_another_place_does_not_hold() -> None:
    lines = chain("open", "head", "release")
    head = json.loads(lines[1])
    assert check(rewritten([*lines, lines[1]], 3, data=head["data"])).first_bad_line == 4


def test_unknown_fields_survive_and_count() -> None:
    lines = rewritten(chain("open", "release"), 0, colour="green")
    assert check(lines).ok
    assert Tip().follow(lines[0][:-1])[0].fields["colour"] == "green"
    assert not check([lines[0].replace(b"green", b"brown"), lines[1]]).ok


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"v": True},
        {"n": "1"},
        {"n": True},
        {"prev": None},
        {"time": "yesterday"},
        {"time": "2026-01-02T03:04:05+01:00"},
        {"time": "\u0662026-01-02T03:04:05Z"},
        {"type": "Release"},
        {"type": 1},
        {"data": []},
    ],
)
def test_fields_of_another_type_are_refused(fields: dict[str, Any]) -> None:
    line = canonical({**json.loads(chain("open")[0]), **fields}) + b"\n"
    assert check([line]).first_bad_line == 1


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{}", b"[]\n", b"NaN\n", b"[" * 9999 + b"\n", b'{"v":1,"v":1}\n', b"\xff\n", b'"\\ud800"\n']
)
def test_lines_that_are_no_entries_are_refused(line: bytes) -> None:
    assert check([line]).first_bad_line == 1


def test_another_format_says_which_version_to_use() -> None:
    line = canonical({**json.loads(chain("open")[0]), "v": 2})
    with pytest.raises(ProtocolError, match="format 2; this software reads format 1") as caught:
        Tip().follow(line)
    assert "version of Wardround that wrote" in caught.value.remedy


@pytest.mark.parametrize(("levels", "ok"), [(DEEPEST - 2, True), (DEEPEST - 1, False)])
def test_an_entry_is_nested_so_deep_and_no_deeper(levels: int, ok: bool) -> None:
    nested: object = []
    for _ in range(levels - 1):
        nested = [nested]
    line = Tip().next_line("note", {"x": nested}, time=NOW) + b"\n"  # two levels are the entry's own
    assert check([line]).ok is ok
    assert ok or check([line]).reason == "The entry is nested too deeply."


def test_many_siblings_are_not_deep() -> None:
    assert check([Tip().next_line("note", {"x": [[]] * 1000}, time=NOW) + b"\n"]).ok


def test_another_writing_of_the_same_entry_is_refused() -> None:
    line = chain("open")[0]
    assert check([line.replace(b',"n"', b', "n"')]).reason == "The entry is not canonical JSON."


@pytest.mark.parametrize(
    "data",
    [
        {"loss": math.nan},
        {"loss": math.inf},
        {"bytes": 2**53},
        {"name": "\ud800"},
        {"raw": b"x"},
        {"text": "x" * LONGEST_LINE},
    ],
)
def test_data_without_canonical_form_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Tip().next_line("release", data, time=NOW)


@pytest.mark.parametrize(("name", "time"), [("Release", NOW), ("", NOW), ("release", "now"), ("release", NOW[:-1])])
def test_type_and_time_have_a_form(name: str, time: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        Tip().next_line(name, {}, time=time)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_finite_json_survives(value: Any) -> None:
    line = Tip().next_line("release", {"value": value}, time=NOW)
    assert Tip().follow(line)[0].data == {"value": value}


def test_times_are_utc_with_microseconds() -> None:
    assert timestamp(0.25) == "1970-01-01T00:00:00.250000Z"
    Tip().next_line("release", {}, time=timestamp(1_800_000_000))


@given(st.lists(st.binary(max_size=80).map(lambda line: line + b"\n"), min_size=1, max_size=3))
def test_arbitrary_lines_are_judged_and_never_raise(lines: list[bytes]) -> None:
    verdict = check(lines)
    assert (verdict.ok, verdict.entries, verdict.first_bad_line) == (False, 0, 1)
    assert verdict.reason.startswith("The entry ")


@given(
    st.dictionaries(
        st.sampled_from(["v", "n", "prev", "time", "type", "data", "more"]),
        st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.just(NO_ENTRY) | st.just({}),
    )
)
def test_arbitrary_objects_are_judged_and_never_raise(fields: dict[str, Any]) -> None:
    assert not check([canonical(fields) + b"\n"]).ok


def test_a_verdict_does_not_repeat_what_the_ledger_says() -> None:
    lines = rewritten(chain("open", "head"), 1, data={"signer": "Jane Roe", "signature": "Jane Roe"})
    assert "Jane" not in check(lines).reason
