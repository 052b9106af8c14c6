"""The intruders benchmark: what it promises is judged fairly, and the promise holds."""

from typing import Any

import pytest

from deploy.bench import http2
from deploy.bench.intruders import ATTACKS, missed, run, served, show
from shared.console import Answer, envelope

STUDY: dict[str, Any] = {
    "study": "honest-1",
    "finished": True,
    "all_counted": True,
    "weights_sha256": "a" * 64,
    "seconds": 3.0,
}
CASE = {"name": "unknown key", "refused": True, "said": "FAILED_PRECONDITION"}
GOOD: dict[str, Any] = {"cases": [CASE], "served_meanwhile": True, "orphans": 0}


def test_a_study_that_nobody_disturbed_is_one_that_finished_whole_and_alike() -> None:
    assert served(STUDY, [STUDY, STUDY])
    for harm in ({"finished": False}, {"all_counted": False}, {"weights_sha256": "b" * 64}):
        assert not served(STUDY, [STUDY, STUDY | harm])
    assert not served(STUDY, [])


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"cases": [CASE | {"refused": False, "said": "it was taken"}]}, "unknown key: it was taken"),
        ({"served_meanwhile": False}, "suffered"),
        ({"orphans": 2}, "2 processes"),
    ],
)
def test_every_broken_promise_is_named(broken: dict[str, Any], word: str) -> None:
    assert list(missed(GOOD)) == []
    (only,) = missed(GOOD | broken)
    assert word in only


def test_frames_are_written_as_the_standard_says() -> None:
    assert http2.frame(http2.PING, 0, bytes(8)) == bytes.fromhex("000008 06 00 00000000") + bytes(8)
    cut = http2.frame(http2.DATA, 3, b"x", flags=http2.END_STREAM, length=9)
    assert cut == bytes.fromhex("000009000100000003") + b"x"
    assert http2.literal("te", "x" * 127) == b"\x00\x02te\x7f\x00" + b"x" * 127
    assert http2.literal("te", "x" * 300)[4:7] == bytes([127, 173, 1])  # 127 + 45 + 128


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nobody_gets_in_and_the_studies_go_on() -> None:
    found = run()
    assert list(missed(found)) == []
    assert found["ways_in"] == found["refused"] == len(ATTACKS) >= 25
    assert found["served_meanwhile"]
    assert envelope("bench.intruders", Answer(found, show(found)))
