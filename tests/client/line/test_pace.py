"""Polls come quickly after news and ever more slowly without, never more slowly than agreed."""

import random

import pytest

from client.line.pace import BUSY_CAP_S, FIRST_S, IDLE_CAP_S, LONG_IDLE_CAP_S, LONG_IDLE_S, QUICK_POLLS, Pace


def waits(pace: Pace, count: int, *, busy: bool) -> list[float]:
    now, found = 0.0, []
    for _ in range(count):
        pace.polled(now, busy=busy)
        found.append(pace.due_in(now))
        now += found[-1]
    return found


@pytest.mark.parametrize(("busy", "cap"), [(True, BUSY_CAP_S), (False, IDLE_CAP_S)])
def test_empty_polls_grow_to_a_cap(busy: bool, cap: float) -> None:
    found = waits(Pace(chance=lambda: 0.0), 20, busy=busy)
    assert found[0] == FIRST_S
    assert found == sorted(found)
    assert found[-1] == pytest.approx(cap)


def test_news_makes_the_next_poll_due_at_once() -> None:
    pace = Pace(chance=lambda: 0.0)
    waits(pace, 20, busy=False)
    pace.news()
    assert pace.due_in(0.0) == 0.0
    assert waits(pace, 1, busy=False) == [FIRST_S]


def test_after_news_the_first_polls_stay_quick() -> None:
    pace = Pace(chance=lambda: 0.0)
    pace.news()
    found = waits(pace, QUICK_POLLS + 3, busy=True)
    assert found[: QUICK_POLLS + 1] == pytest.approx([FIRST_S] * (QUICK_POLLS + 1))
    assert FIRST_S < found[-2] < found[-1] <= BUSY_CAP_S


def test_while_the_worker_is_on_its_task_a_poll_a_second_is_enough_and_its_end_is_news() -> None:
    pace = Pace(chance=lambda: 0.0)
    pace.news()
    for second in range(40):
        pace.polled(float(second), busy=True, working=True)
        assert pace.due_in(float(second)) == BUSY_CAP_S
    pace.news()
    assert waits(pace, 1, busy=True) == [FIRST_S]


def test_a_line_that_is_down_is_tried_when_told() -> None:
    pace = Pace(chance=lambda: 0.0)
    pace.failed(7.0)
    assert pace.due_in(5.0) == 2.0
    assert pace.due_in(9.0) == 0.0


def test_the_wait_of_a_quiet_site_grows_again_after_ten_minutes() -> None:
    pace = Pace(chance=lambda: 0.0)
    found = waits(pace, 300, busy=False)
    early = [wait for count, wait in enumerate(found) if sum(found[:count]) < LONG_IDLE_S]
    assert max(early) == IDLE_CAP_S
    assert found[-1] == LONG_IDLE_CAP_S
    pace.news()
    assert waits(pace, 50, busy=False)[-1] <= IDLE_CAP_S


def test_sites_that_heard_the_same_news_do_not_stay_in_step() -> None:
    paces = [Pace(chance=random.Random(seed).random) for seed in range(2)]
    first, second = (waits(pace, 40, busy=False) for pace in paces)
    assert abs(sum(first) - sum(second)) > 0.1
    assert all(wait <= IDLE_CAP_S for wait in first + second)
