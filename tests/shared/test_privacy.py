"""What private training costs: held against other accountants of the same kind, and against what must hold for any."""

import warnings
from itertools import pairwise
from math import exp

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from pydantic import ValidationError
from scipy.stats import norm

from shared.privacy import ORDERS, Mechanism, epsilon_of, followed_by

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.accountants import PRVAccountant, RDPAccountant

CASES = [(1.0, 0.05, 300), (0.8, 0.02, 1000), (2.0, 0.01, 5000), (1.5, 1.0, 3), (5.0, 0.1, 200)]
DELTA = 1e-6


def mechanism(noise: float = 1.0, rate: float = 0.05, steps: int = 100, images: int = 4) -> Mechanism:
    return Mechanism(noise_multiplier=noise, sampling_rate=rate, steps=steps, images_per_patient=images)


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES)
def test_opacus_composes_renyi_dp_to_the_same_epsilon(noise: float, rate: float, steps: int) -> None:
    theirs = RDPAccountant()
    theirs.history = [(noise, rate, steps)]
    expected = theirs.get_epsilon(DELTA, alphas=ORDERS)
    assert epsilon_of([mechanism(noise, rate, steps)], delta=DELTA) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES[:2])
def test_the_exact_figure_is_below_by_a_tenth_and_its_two_accountants_agree(
    noise: float, rate: float, steps: int
) -> None:
    tight = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    tight.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)), steps)
    other = PRVAccountant()
    other.history = [(noise, rate, steps)]
    exact = tight.get_epsilon(DELTA)
    assert other.get_epsilon(DELTA) == pytest.approx(exact, rel=0.01)
    assert exact < epsilon_of([mechanism(noise, rate, steps)], delta=DELTA) < 1.15 * exact


def test_without_sampling_it_bounds_the_gaussian_mechanism_itself() -> None:
    """Balle and Wang 2018, theorem 8: delta of one Gaussian release, exactly."""
    epsilon = epsilon_of([mechanism(2.0, 1.0, 1)], delta=1e-5)
    delta = norm.cdf(1 / 4 - 2 * epsilon) - exp(epsilon) * norm.cdf(-1 / 4 - 2 * epsilon)
    assert 0 < delta < 1e-5


def test_more_of_anything_that_hurts_costs_more() -> None:
    for worse in (
        [mechanism(noise=noise) for noise in (4.0, 2.0, 1.0, 0.5)],
        [mechanism(rate=rate) for rate in (0.01, 0.05, 0.3, 1.0)],
        [mechanism(steps=steps) for steps in (1, 10, 100, 5000)],
    ):
        costs = [epsilon_of([one], delta=DELTA) for one in worse]
        assert all(less < more for less, more in pairwise(costs))
    costs = [epsilon_of([mechanism()], delta=delta) for delta in (1e-3, 1e-5, 1e-8)]
    assert all(less < more for less, more in pairwise(costs))


def test_how_many_images_a_patient_gives_costs_nothing() -> None:
    assert epsilon_of([mechanism(images=1)], delta=DELTA) == epsilon_of([mechanism(images=64)], delta=DELTA)


def test_nothing_done_costs_nothing_and_a_delta_is_a_probability() -> None:
    assert epsilon_of([], delta=DELTA) == 0
    for delta in (0.0, 1.0, -1e-6):
        with pytest.raises(ValueError, match="delta is above 0"):
            epsilon_of([], delta=delta)


def test_a_history_is_run_length_and_its_cut_does_not_matter() -> None:
    whole = followed_by(followed_by((), mechanism(steps=30)), mechanism(steps=70))
    assert whole == (mechanism(steps=100),)
    mixed = followed_by(followed_by(whole, mechanism(noise=2.0, steps=5)), mechanism(steps=1))
    assert [run.steps for run in mixed] == [100, 5, 1]
    again = (mechanism(steps=1), mechanism(noise=2.0, steps=5), mechanism(steps=100))
    assert epsilon_of(mixed, delta=DELTA) == pytest.approx(epsilon_of(again, delta=DELTA))
    assert epsilon_of(mixed, delta=DELTA) > epsilon_of(whole, delta=DELTA)


def test_a_mechanism_without_noise_is_none() -> None:
    with pytest.raises(ValidationError):
        mechanism(noise=0.0)
