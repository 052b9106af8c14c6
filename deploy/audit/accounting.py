"""What a history of noised steps costs, by dp-accounting with its own orders: nothing of what a site charges by."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant

_LEAST_NOISE = 1e-6  # what epsilon takes is finite from there on
_MOST_STEPS = 10**12


@dataclass(frozen=True)
class Run:
    """So many equal steps: the noise in units of the clip norm, the probability that a patient enters one."""

    noise_multiplier: float
    sampling_rate: float
    images_per_patient: int
    steps: int

    def __post_init__(self) -> None:
        """No run costs less than nothing, or more than can be worked out.

        Raises:
            ValueError: it would.
        """
        sound = _LEAST_NOISE <= self.noise_multiplier <= 1 / _LEAST_NOISE and 0 < self.sampling_rate <= 1
        if not sound or self.images_per_patient < 1 or not 1 <= self.steps <= _MOST_STEPS:
            raise ValueError("no run of noised steps is like that")


def epsilon_of_runs(runs: Iterable[Run], *, delta: float) -> float:
    """The epsilon of one patient who was in all of them, by Renyi DP, for adding or removing that patient."""
    if not (whole := list(runs)):
        return 0.0
    logging.getLogger("absl").setLevel(logging.ERROR)  # it warns of every order that it leaves out
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    for run in whole:
        event = PoissonSampledDpEvent(run.sampling_rate, GaussianDpEvent(run.noise_multiplier))
        accountant.compose(event, run.steps)
    return float(accountant.get_epsilon(delta))
