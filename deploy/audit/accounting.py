"""What a history of noised steps costs, by dp-accounting with its own orders: nothing of what a site charges by."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant


@dataclass(frozen=True)
class Run:
    """So many equal steps: the noise in units of the clip norm, the probability that a patient enters one."""

    noise_multiplier: float
    sampling_rate: float
    images_per_patient: int
    steps: int


def epsilon_of_runs(runs: Iterable[Run], *, delta: float) -> float:
    """The epsilon of one patient who was in all of them, by Renyi DP, for adding or removing that patient."""
    whole = [run for run in runs if run.steps]
    if not whole:
        return 0.0
    logging.getLogger("absl").setLevel(logging.ERROR)  # it warns of every order that it leaves out
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    for run in whole:
        event = PoissonSampledDpEvent(run.sampling_rate, GaussianDpEvent(run.noise_multiplier))
        accountant.compose(event, run.steps)
    return float(accountant.get_epsilon(delta))
