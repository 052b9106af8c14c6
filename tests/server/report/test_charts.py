"""Where the marks stand."""

import re

import pytest

from server.report.charts import MOST_DOTS, MOST_ROUNDS, Curve, curve_of, grid_of, interval_scale
from server.report.participation import RoundFacts, Seat
from server.report.scores import Estimate, Point


def point(model: int, value: float | None, *, width: float | None = 0.05, sites: int = 2) -> Point:
    ends = (None, None) if value is None or width is None else (value - width, min(1.0, value + width))
    return Point(model, Estimate(value, *ends), 0.5, sites, 80, {} if value is None else {"north": value})


def drawn(*points: Point) -> Curve:
    curve = curve_of(points)
    assert curve is not None
    return curve


def round_of(number: int) -> RoundFacts:
    return RoundFacts(number, True, 1, 1.0, {"north": Seat("counted"), "south": Seat("absent", "The line was lost.")})


def test_without_a_defined_figure_there_is_no_curve() -> None:
    assert curve_of([]) is None
    assert curve_of([point(0, None)]) is None


def test_better_is_higher_and_later_is_further_right() -> None:
    curve = drawn(point(0, 0.5), point(1, 0.7), point(2, 0.9))
    assert [dot.x for dot in curve.dots] == sorted(dot.x for dot in curve.dots)
    assert [dot.y for dot in curve.dots] == sorted((dot.y for dot in curve.dots), reverse=True)
    assert (curve.last, curve.last_label) == (curve.dots[-1], "0.900")


def test_every_mark_is_inside_the_picture() -> None:
    curve = drawn(*(point(n, v) for n, v in enumerate((0.05, 0.4, 0.97, 1.0))))
    numbers = re.findall(r"[\d.]+ [\d.]+", curve.band + curve.line + "".join(curve.sites))
    for x, y in (map(float, pair.split()) for pair in numbers):
        assert curve.left <= x <= curve.width
        assert 0 <= y <= curve.bottom


def test_ticks_are_round_numbers_and_end_at_one() -> None:
    labels = [tick.label for tick in drawn(point(0, 0.912, width=0.01), point(1, 0.95, width=0.01)).y_ticks]
    assert labels == ["1.00", "0.98", "0.96", "0.94", "0.92", "0.90"]


@pytest.mark.parametrize("last", [1, 7, 60, 100_000])
def test_rounds_are_labelled_with_few_ticks(last: int) -> None:
    labels = [int(tick.label) for tick in drawn(point(0, 0.5), point(last, 0.9)).x_ticks]
    assert labels[0] == 0
    assert len(labels) <= 13
    assert labels[-1] <= last


def test_a_single_model_is_a_dot() -> None:
    curve = drawn(point(0, 0.9))
    assert (len(curve.dots), curve.line.count("L")) == (1, 0)


def test_the_band_breaks_where_a_model_has_no_interval() -> None:
    curve = drawn(point(0, 0.6), point(1, 0.7), point(2, 1.0, width=None), point(3, 0.8), point(4, 0.9))
    assert curve.band.count("M") == curve.band.count("Z") == 2


def test_a_model_that_only_some_sites_scored_is_marked() -> None:
    curve = drawn(point(0, 0.6, sites=2), point(1, 0.7, sites=1))
    assert [dot.whole for dot in curve.dots] == [True, False]
    assert "1 sites" in curve.dots[1].title


def test_a_long_curve_is_a_line_alone() -> None:
    assert drawn(*(point(n, 0.8) for n in range(MOST_DOTS + 1))).dots == ()


def test_a_cell_for_every_site_and_round() -> None:
    grid = grid_of([round_of(n) for n in range(1, 4)], ["north", "south"])
    assert [(cell.round, cell.seat.state) for cell in grid.cells] == [
        (n, state) for n in range(1, 4) for state in ("counted", "absent")
    ]
    assert [tick.label for tick in grid.rounds] == ["1", "2", "3"]
    assert len({(cell.x, cell.y) for cell in grid.cells}) == 6


def test_a_long_study_shows_its_last_rounds_within_the_width() -> None:
    grid = grid_of([round_of(n) for n in range(1, 501)], ["north", "south"])
    assert grid.left_out == 500 - MOST_ROUNDS
    assert grid.cells[0].round == 501 - MOST_ROUNDS
    assert max(cell.x + grid.size for cell in grid.cells) <= grid.width


def test_no_rounds_give_an_empty_grid() -> None:
    assert grid_of([], []).cells == ()


def test_one_axis_holds_all_intervals() -> None:
    scale = interval_scale([Estimate(0.9, 0.81, 0.99), Estimate(1.0), Estimate()], width=150)
    assert (scale(scale.low), scale(1.0)) == (6, 144)
    assert scale.low <= 0.81
