"""AUROCs that differ by more than chance: formulas against references, and their false alarms."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from server.report.chance import (
    FEWEST,
    NO_SPREAD,
    TOO_FEW,
    Area,
    chi_square_tail,
    difference,
    gap_by_chance,
    heterogeneity,
    holm,
)
from shared import metrics

AREAS = st.builds(Area, st.floats(0.05, 0.98), st.floats(0.005, 0.15), st.integers(FEWEST, 500))


def test_the_chi_square_tail_is_scipys() -> None:
    for df in (1, 2, 3, 4, 7, 20, 99):
        for x in (0.0, 0.3, 1.0, 5.0, 20.0, 150.0):
            assert chi_square_tail(x, df) == pytest.approx(chi2.sf(x, df), rel=1e-9, abs=1e-300)


def test_two_areas_computed_by_hand() -> None:
    """At 0.8 and 0.5 with error 0.08 the logits are ln 4 and 0, their errors 0.08 / 0.16 and 0.08 / 0.25."""
    one, other = Area(0.8, 0.08, 20), Area(0.5, 0.08, 20)
    z = math.log(4) / math.sqrt(0.5**2 + 0.32**2)
    assert difference(one, other).value == pytest.approx(0.3)
    assert difference(one, other).p == pytest.approx(2 * (1 - 0.5 * (1 + math.erf(z / math.sqrt(2)))))
    found = heterogeneity([one, other])
    assert (found.q, found.df) == (pytest.approx(z**2), 1)
    assert found.p == pytest.approx(difference(one, other).p)
    assert (found.i_squared_low, found.i_squared_high) == (None, None)
    low, high = 1 / (1 + math.exp(-math.log(4) + 1.96 * 0.5)), 1 / (1 + math.exp(-1.96 * 0.32))
    assert difference(one, other).low == pytest.approx(0.3 - math.hypot(0.8 - low, high - 0.5), abs=1e-5)


def test_small_errors_give_the_plain_difference() -> None:
    """Far from 0 and 1 and with much data both scales agree: standard errors add in squares."""
    found = difference(Area(0.62, 0.003, 900), Area(0.6, 0.004, 900))
    assert found.high - found.value == pytest.approx(1.96 * 0.005, rel=0.02)
    assert found.value - found.low == pytest.approx(1.96 * 0.005, rel=0.02)


def test_i_squared_by_the_formulas_of_its_paper() -> None:
    areas = [Area(value, 0.02, 50) for value in (0.70, 0.78, 0.85, 0.74)]
    logits, errors = (np.array([getattr(a, n) for a in areas]) for n in ("logit", "logit_error"))
    mean = np.average(logits, weights=errors**-2)
    q = float((((logits - mean) / errors) ** 2).sum())
    found = heterogeneity(areas)
    assert (found.q, found.p) == (pytest.approx(q), pytest.approx(chi2.sf(q, 3)))
    assert found.i_squared == pytest.approx((q - 3) / q)
    error = 0.5 * (math.log(q) - math.log(3)) / (math.sqrt(2 * q) - math.sqrt(5))
    h = math.exp(0.5 * math.log(q / 3) - 1.959964 * error)
    assert found.i_squared_low == pytest.approx((h**2 - 1) / h**2, abs=1e-6)


@given(st.lists(AREAS, min_size=2, max_size=12), st.randoms())
def test_the_order_of_sites_does_not_matter(areas: list[Area], random: object) -> None:
    shuffled = areas[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = heterogeneity(areas), heterogeneity(shuffled)
    assert (one.q, one.i_squared) == (pytest.approx(other.q), pytest.approx(other.i_squared))
    assert gap_by_chance(areas) == pytest.approx(gap_by_chance(shuffled))


@given(AREAS, st.integers(2, 12))
def test_alike_sites_are_not_heterogeneous(area: Area, sites: int) -> None:
    found = heterogeneity([area] * sites)
    assert found.q == pytest.approx(0, abs=1e-9)
    assert found.p == pytest.approx(1)
    assert found.i_squared == 0


@given(AREAS, AREAS)
def test_a_difference_has_a_sign_and_stays_within_its_bounds(one: Area, other: Area) -> None:
    there, back = difference(one, other), difference(other, one)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert (there.low, there.p) == (pytest.approx(-back.high), pytest.approx(back.p))


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_raises_every_p(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    ranked = [a for _, a in sorted(zip(ps, adjusted, strict=True))]
    assert all(a <= b for a, b in pairwise(ranked))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_cannot_be_compared_says_why_and_is_refused() -> None:
    few, perfect = Area(0.8, 0.1, FEWEST - 1), Area(1.0, 0.0, 50)
    assert (few.fault, perfect.fault) == (TOO_FEW, NO_SPREAD)
    for bad in (few, perfect):
        with pytest.raises(ValueError, match="cannot be compared"):
            difference(bad, Area(0.8, 0.1, 50))
    with pytest.raises(ValueError, match="does not vary"):
        heterogeneity([Area(0.8, 0.1, 50)])


def test_the_gap_by_chance_is_that_of_drawn_sites() -> None:
    areas = [Area(0.85, error, 50) for error in (0.02, 0.03, 0.05, 0.05)]
    errors, mean = np.array([a.logit_error for a in areas]), areas[0].logit
    drawn = 1 / (1 + np.exp(-np.random.default_rng(3).normal(mean, errors, (20_000, 4))))
    assert gap_by_chance(areas) == pytest.approx(np.ptp(drawn, axis=1).mean(), rel=0.02)


# ------------------------------------------------------------------ how often alike sites are called unlike


def alike_sites(rng: np.random.Generator, *, auroc_shift: float, sizes: tuple[int, ...], share: float) -> list[Area]:
    """Sites whose patients come from one distribution, scored by the real histograms."""
    found = []
    for size in sizes:
        truth = rng.random(size) < share
        counts = metrics.histogram(rng.normal(auroc_shift * truth), truth)
        error = metrics.auroc_error(counts)
        if error is not None:
            found.append(Area(float(metrics.auroc(counts) or 0), error, int(counts.sum(axis=1).min())))
    return [area for area in found if area.fault is None]


SETTINGS = [
    pytest.param(1.47, (20,) * 20, 0.5, id="many small sites, AUROC 0.85"),
    pytest.param(2.33, (60, 60, 120, 300), 0.2, id="unequal sites, AUROC 0.95"),
    pytest.param(0.74, (30,) * 6, 0.5, id="AUROC 0.70"),
]


def rate(test: Callable[[list[Area]], bool], shift: float, sizes: tuple[int, ...], share: float) -> float:
    rng = np.random.default_rng(11)
    drawn = [alike_sites(rng, auroc_shift=shift, sizes=sizes, share=share) for _ in range(300)]
    return sum(test(areas) for areas in drawn) / len(drawn)


@pytest.mark.parametrize(("shift", "sizes", "share"), SETTINGS)
def test_alike_sites_are_rarely_called_heterogeneous(shift: float, sizes: tuple[int, ...], share: float) -> None:
    """At the level 0.05; the documentation says at most about one in ten."""
    assert rate(lambda areas: heterogeneity(areas).p < 0.05, shift, sizes, share) <= 0.1


def test_on_the_plain_scale_they_would_be_called_so_often() -> None:
    def plain(areas: list[Area]) -> bool:
        values, errors = np.array([a.value for a in areas]), np.array([a.error for a in areas])
        mean = np.average(values, weights=errors**-2)
        return bool(chi2.sf((((values - mean) / errors) ** 2).sum(), len(areas) - 1) < 0.05)

    assert rate(plain, 1.47, (20,) * 20, 0.5) > 0.2
