"""Nothing that is hidden follows from what is told."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.small_cells import Told, tell


def test_large_counts_are_told() -> None:
    assert tell({"a": 40, "b": 11, "c": 0}, smallest=11) == Told({"a": 40, "b": 11, "c": 0}, 51)


def test_one_small_count_takes_the_next_smallest_with_it() -> None:
    assert tell({"a": 40, "b": 20, "c": 3}, smallest=11) == Told({"a": 40, "b": None, "c": None}, 63)


def test_two_small_counts_that_add_up_to_little_take_a_third() -> None:
    assert tell({"a": 40, "b": 1, "c": 1}, smallest=11) == Told({"a": None, "b": None, "c": None}, 42)


@pytest.mark.parametrize("counts", [{"a": 4}, {"a": 4, "b": 0}, {"a": 2, "b": 3}])
def test_a_total_of_few_is_hidden_itself(counts: Mapping[str, int]) -> None:
    assert tell(counts, smallest=11).total is None


def test_a_limit_of_one_hides_nothing() -> None:
    assert tell({"a": 1, "b": 2}, smallest=1) == Told({"a": 1, "b": 2}, 3)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 60), max_size=8), st.integers(1, 20))
def test_what_is_hidden_never_follows(counts: dict[str, int], smallest: int) -> None:
    told, total = tell(counts, smallest=smallest)
    hidden = [counts[name] for name, count in told.items() if count is None]
    assert all(count is None or count == 0 or count >= smallest for count in told.values())
    if hidden and total is not None:
        assert len(hidden) > 1
        assert sum(hidden) >= smallest
        assert total == sum(counts.values())


def test_a_sum_without_a_small_count_leaves_no_total_to_take_it_from() -> None:
    assert tell({"a": 5, "b": 30, "c": 100}, smallest=11, sums=[{"b", "c"}]) == Told(
        {"a": None, "b": 30, "c": 100}, None
    )
    whole = [{"a", "b", "c"}]
    assert tell({"a": 5, "b": 30, "c": 100}, smallest=11, sums=whole) == Told({"a": None, "b": None, "c": 100}, 135)


def test_a_sum_with_a_small_count_and_not_all_hides_every_one() -> None:
    found = tell({"a": 5, "b": 30, "c": 100, "d": 0}, smallest=11, sums=[{"a", "c"}])
    assert found == Told({"a": None, "b": None, "c": None, "d": 0}, None)


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(2, 20), st.sets(st.integers(0, 5)))
def test_no_sum_less_what_is_told_is_of_few(counts: list[int], smallest: int, of: set[int]) -> None:
    named = {str(n): count for n, count in enumerate(counts)}
    group = {str(n) for n in of if n < len(counts)}
    told, total = tell(named, smallest=smallest, sums=[group])
    for names in [group] if total is None else [group, set(named)]:
        left = [named[name] for name in names if told[name] is None]
        assert not left or sum(left) >= smallest or sum(named[name] for name in group) < smallest
