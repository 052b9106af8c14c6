"""The forest: zero and every interval lie inside the plot, and who stands apart is told to which side."""

import pytest

from server.report.chance import Difference
from server.report.fairness import SiteFairness
from server.report.forest import forest_of
from server.report.scores import Estimate


def site(name: str, value: float, *, half: float = 0.02, p: float = 1.0, patients: int = 100) -> SiteFairness:
    versus = Difference(value, value - half, value + half, p)
    return SiteFairness(name, patients, Estimate(0.8), 0.8, versus, p)


@pytest.mark.parametrize("values", [(0.0, 0.0), (-0.3, -0.2), (0.001, 0.5), (-0.9, 0.9)])
def test_zero_and_all_intervals_are_inside(values: tuple[float, ...]) -> None:
    forest = forest_of([site(f"site-{i}", value) for i, value in enumerate(values)], level=0.05)
    assert forest is not None
    assert forest.left <= forest.zero <= forest.right
    for row in forest.rows:
        assert forest.left <= row.low < row.mark < row.high <= forest.right
    assert [tick.at for tick in forest.ticks] == sorted({tick.at for tick in forest.ticks})
    assert "0.00" in [tick.label for tick in forest.ticks]


def test_sides_sizes_and_words() -> None:
    sites = [site("low", -0.1, p=0.01), site("high", 0.1, p=0.01, patients=400), site("like", 0.0, p=0.9)]
    forest = forest_of([*sites, SiteFairness("few", 3, Estimate(0.5), why="few")], level=0.05)
    assert forest is not None
    assert [row.apart for row in forest.rows] == ["lower", "higher", "", ""]
    assert forest.rows[1].side == max(row.side for row in forest.rows)
    assert (forest.rows[0].words, forest.rows[2].words) == (
        "−0.100 (−0.120 to −0.080)",  # noqa: RUF001
        "0.000 (−0.020 to +0.020)",  # noqa: RUF001
    )
    assert (forest.rows[3].mark, forest.rows[3].words) == (None, "not compared")


def test_nothing_compared_is_no_plot() -> None:
    assert forest_of([], level=0.05) is None
    assert forest_of([SiteFairness("few", 3, Estimate(0.5), why="few")], level=0.05) is None
