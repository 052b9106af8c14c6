"""How far a site's local work goes: the effort by which FedNova normalises its change.

Wang et al. 2020 ("Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
section 4): k steps of SGD with momentum m move the weights by -rate * sum_j a_j g_j, and the effort is the
sum of the a_j. Step j lives on in every later one, so a_j = (1 - m**(k - j + 1)) / (1 - m) and

    effort = (k - m * (1 - m**k) / (1 - m)) / (1 - m),    which is k for m = 0.

How efforts weigh is the fold's matter.
"""

from collections.abc import Iterable

from shared.training import TrainingSpec


def efforts_of(training: TrainingSpec | None, steps: Iterable[int]) -> tuple[float, ...] | None:
    """The effort of each site's local work; None where the study does not normalise.

    Args:
        training: the study's; FedNova goes with SGD alone.
        steps: of the optimizer, as each site counted them.
    """
    if training is None or training.algorithm != "fednova":
        return None
    return tuple(effort(count, momentum=training.momentum) for count in steps)


def effort(steps: int, *, momentum: float) -> float:
    """The effort of so many steps of SGD with this momentum, from 0 below 1."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
