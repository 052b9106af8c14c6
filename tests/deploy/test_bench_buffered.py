"""The buffered benchmark: its promises are about counting, and it keeps them in a real federation."""

from typing import Any

import pytest

from deploy.bench.buffered import missed, run, show
from shared.console import Answer, envelope


def data(**other: Any) -> dict[str, Any]:
    figures = {"seconds": 30.0, "rounds_per_minute": 8.0, "auroc": 0.9}
    return {
        "cases": [{"study": "waiting", "rounds": 4} | figures, {"study": "buffered", "rounds": 40} | figures],
        "rounds_per_minute_ratio": 10.0,
        "slow_finished": 4,
        "slow_counted": 3,
        "slow_rounds_late": [9, 10, 8],
        "double_counted": 0,
        "unaccounted": 0,
        "orphans": 0,
        **other,
    }


def test_one_update_may_be_on_its_way_when_the_study_is_stopped() -> None:
    assert list(missed(data())) == []


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"double_counted": 1}, "counted once"),
        ({"unaccounted": 1}, "counted once"),
        ({"slow_finished": 5}, "Of 5 updates of the slow site only 3 counted"),
        ({"slow_finished": 0, "slow_counted": 0}, "too short to say"),
        ({"slow_finished": 1, "slow_counted": 0}, "too short to say"),
        ({"orphans": 2}, "2 processes or ports"),
    ],
)
def test_each_broken_promise_is_named(broken: dict[str, Any], word: str) -> None:
    (said,) = missed(data(**broken))
    assert word in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_work_of_a_site_that_is_ten_times_slower_counts_once() -> None:
    found = run(rounds=3)
    assert list(missed(found)) == []
    waiting, buffered = found["cases"]
    assert (waiting["rounds"], found["sites"]) == (3, 3)
    assert buffered["rounds"] > waiting["rounds"]
    assert any(found["slow_rounds_late"])
    assert envelope("bench.buffered", Answer(found, show(found)))
