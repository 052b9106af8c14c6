"""Polls come quickly after news and ever more slowly without, never more slowly than agreed."""

import pytest

from client.pace import BUSY_CAP_S, FIRST_S, IDLE_CAP_S, QUICK_POLLS, Pace


def waits(pace: Pace, count: int, *, busy: bool) -> list[float]:
    now, found = 0.0, []
    for _ in range(count):
        pace.polled(now, busy=busy)
        found.append(pace.due_in(now))
        now += found[-1]
    return found


@pytest.mark.parametrize(("busy", "cap"), [(True, BUSY_CAP_S), (False, IDLE_CAP_S)])
def test_empty_polls_grow_to_a_cap(busy: bool, cap: float) -> None:
    found = waits(Pace(), 20, busy=busy)
    assert found[0] == FIRST_S
    assert found == sorted(found)
    assert found[-1] == pytest.approx(cap)


def test_news_makes_the_next_poll_due_at_once() -> None:
    pace = Pace()
    waits(pace, 20, busy=False)
    pace.news()
    assert pace.due_in(0.0) == 0.0
    assert waits(pace, 1, busy=False) == [FIRST_S]


def test_after_news_the_first_polls_stay_quick() -> None:
    pace = Pace()
    pace.news()
    found = waits(pace, QUICK_POLLS + 3, busy=True)
    assert found[: QUICK_POLLS + 1] == pytest.approx([FIRST_S] * (QUICK_POLLS + 1))
    assert FIRST_S < found[-2] < found[-1] <= BUSY_CAP_S


def test_a_line_that_is_down_is_tried_when_told() -> None:
    pace = Pace()
    pace.failed(7.0)
    assert pace.due_in(5.0) == 2.0
    assert pace.due_in(9.0) == 0.0
