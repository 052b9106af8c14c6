"""Fold the admitted updates of one round into one aggregate, the same whoever answered first.

Decides how tensors are averaged; which updates count is decided by admission, how the aggregate
moves the model by the server's optimizer.

Fixed point. Site i has the weight p_i = n_i / sum(n) (float64, n_i its examples, of late work less; the
sum is exact before it is rounded, so that it does not depend on the order, either). Each element x of
its change becomes the integer q_i = rint(x * p_i * 2**40), and the integers are summed in int64.
Integer addition is associative and commutative and nothing overflows, so the sum does not depend on
the order of the sites:

    |sum q_i| <= sum (2**22 * n_i / sum(n) * (1 + 2**-53)**3 * 2**40 + 1/2)
              <= 2**62 * (1 + 2**-51) + N / 2
              <  2**62 + 2**13  <  2**63 - 1        for N <= 10 000 sites,

because admission refuses |x| > CHANGE_BOUND = 2**22; the sum, the division and the product round once each
(the power of two is exact) and rint moves by at most 1/2. The error of a site's term is at most
2**-41 (4.5e-13), where a float32 weight of 1e-4 resolves 7e-12.

Buffered rounds. There late work moves the model by less instead of weighing less among others (FedBuff,
Nguyen et al. 2022, Algorithm 1): its weight n_i * s_i, with s_i <= 1 its discount, is divided by the sum T of
the n_i. The changes then weigh at most 1 in all, and the bound above holds as it stands. With as many examples
at each site this is the paper's sum of s_i * change_i, divided by how many there are.

Buffers of a normalisation layer (names ending in running_mean, running_var, num_batches_tracked):

    running_mean          weighted mean of the sites' values
    running_var           law of total variance, sum p_i (v_i + (m_i - m)**2), floored at 0
    num_batches_tracked   the largest; so is every other integer tensor

With m_i - m = c_i - sum p_j c_j (c the changes of running_mean), no incoming value enters a square;
|m_i - m| <= 2**23, so the squares reach 2**46 and are summed in two integers, whole and fraction. The p_i of
buffers sum to 1 in buffered rounds, too: a mean of statistics that weighed less would be none.

Efforts. Where the study normalises (FedNova, Wang et al. 2020), site i has an effort a_i and its changes
weigh w_i = p_i * e / a_i with e = sum p_j a_j, so that a site that went further does not pull further.
The w_i do not sum to 1: the fixed point runs with w_i / sum(w), and the sum is multiplied by sum(w).
Buffers keep the weights p_i.

Control variates (SCAFFOLD) are no change to step along: c + s * sum p_i (change of c_i), with s the share
of the study's examples that the cohort's sites hold, keeps c the weighted mean of all sites' c_i.

Memory is a few pieces (`shared.update.PIECE_ELEMENTS`), whatever the number of sites and the size of
the model: for each piece, all updates are read once.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shared.update import CONTROL, STATISTICS, Array, PackedFile, TensorSpec, packed_order, spans

CHANGE_BOUND = float(2**22)
SITES_BOUND = 10_000
_ONE = float(2**40)
_MEAN, _VARIANCE = STATISTICS


Weighed = Sequence[tuple[float, PackedFile]]


class Folded(NamedTuple):
    """A run of the aggregate, in C order from element `start` of one tensor.

    Attributes:
        values: (n,); float64 change to step along, or, where `replaces`, the new values themselves
            (float32 or int64), which no learning rate scales.
        replaces: the values are the state after the round, not a change.
    """

    name: str
    start: int
    values: Array
    replaces: bool


def fold(
    updates: Weighed,
    model: PackedFile,
    *,
    efforts: Sequence[float] | None = None,
    share: float = 1.0,
    total: float | None = None,
) -> Iterator[Folded]:
    """The aggregate of one round, piece by piece in packed order.

    Args:
        updates: (weight, update) of each admitted site, in any order; the weight is its examples, and
            every update has the model's table. If no site counts an example, the sites weigh the same.
        model: the model that the sites started from.
        efforts: of each update, by which its change is normalised (0: it has none); None for a plain mean.
        share: of all the study's examples, those of these updates' sites; control variates move by it.
        total: what the weights of changes are divided by, at least their sum; None is their sum. Not with efforts.

    Raises:
        ValueError: no update, more than 10 000, a negative weight or effort, or a total below the weights.
    """
    cohort = _Cohort.of(updates, efforts, share, total)
    for tensor in packed_order(model.table()):
        for start, stop in spans(tensor):
            yield _fold_run(_Run(tensor, start, stop), cohort, model)


@dataclass(frozen=True)
class _Cohort:
    files: tuple[PackedFile, ...]
    weights: tuple[float, ...]
    pulls: tuple[float, ...]  # what changes weigh; sums to at most 1
    scale: float
    share: float

    @classmethod
    def of(cls, updates: Weighed, efforts: Sequence[float] | None, share: float, total: float | None) -> "_Cohort":
        examples = [n for n, _ in updates]
        if not 1 <= len(updates) <= SITES_BOUND or min(examples) < 0:
            raise ValueError(f"a fold needs 1 to {SITES_BOUND} updates with weights of at least 0")
        counted = math.fsum(examples)
        if total is not None and (efforts is not None or total < counted):
            raise ValueError("a total is at least the sum of the weights, and does not go with efforts")
        files = tuple(file for _, file in updates)
        weights = tuple(n / counted if counted else 1 / len(examples) for n in examples)
        if efforts is not None:
            return cls(files, weights, *_normalised(weights, efforts), share)
        pulls = tuple(n / total for n in examples) if total and counted else weights
        return cls(files, weights, pulls, 1.0, share)


def _normalised(weights: Sequence[float], efforts: Sequence[float]) -> tuple[tuple[float, ...], float]:
    """The w_i of the module's head divided by their sum, and their sum; exact sums, whatever the order."""
    if min(efforts) < 0:
        raise ValueError("an effort is at least 0")
    pairs = list(zip(weights, efforts, strict=True))
    mean = math.fsum(p * a for p, a in pairs)
    pulls = [p * mean / a if a else 0.0 for p, a in pairs]
    scale = math.fsum(pulls)
    return tuple(w / scale if scale else 0.0 for w in pulls), scale


@dataclass(frozen=True)
class _Run:
    tensor: TensorSpec
    start: int
    stop: int

    def read(self, file: PackedFile, name: str | None = None) -> Array:
        return file.run(name or self.tensor.name, self.start, self.stop)


def _fold_run(run: _Run, cohort: _Cohort, model: PackedFile) -> Folded:
    name = run.tensor.name
    if run.tensor.dtype == "int64":
        return Folded(name, run.start, _largest(run, cohort), replaces=True)
    if name.startswith(CONTROL):
        control = run.read(model) + cohort.share * _mean(run, cohort, cohort.weights)
        return Folded(name, run.start, control.astype(np.float32), replaces=True)
    last = name.rpartition(".")[2]
    if last not in (_MEAN, _VARIANCE):
        return Folded(name, run.start, cohort.scale * _mean(run, cohort, cohort.pulls), replaces=False)
    value = run.read(model).astype(np.float64) + _mean(run, cohort, cohort.weights)
    if last == _VARIANCE:
        value += _spread_of_means(run, cohort, model, name.removesuffix(_VARIANCE) + _MEAN)
        np.maximum(value, 0.0, out=value)
    return Folded(name, run.start, value.astype(np.float32), replaces=True)


def _largest(run: _Run, cohort: _Cohort) -> Array:
    largest = run.read(cohort.files[0])
    for file in cohort.files[1:]:
        np.maximum(largest, run.read(file), out=largest)
    return largest


def _mean(run: _Run, cohort: _Cohort, weights: Sequence[float], name: str | None = None) -> Array:
    """Weighted mean of a run of changes, float64 (n,), by the fixed point of the module's head."""
    total = np.zeros(run.stop - run.start, np.int64)
    for file, weight in zip(cohort.files, weights, strict=True):
        total += _fixed(np.multiply(run.read(file, name), weight, dtype=np.float64))
    return total / _ONE


def _spread_of_means(run: _Run, cohort: _Cohort, model: PackedFile, mean_name: str) -> Array | float:
    """sum p_i (m_i - m)**2, float64 (n,): what the variance between sites adds to that within them."""
    if model.declared().get(mean_name) != ("float32", run.tensor.shape):
        return 0.0
    mean = _mean(run, cohort, cohort.weights, mean_name)
    whole, fraction = np.zeros_like(mean, np.int64), np.zeros_like(mean, np.int64)
    for file, weight in zip(cohort.files, cohort.weights, strict=True):
        square = (run.read(file, mean_name).astype(np.float64) - mean) ** 2 * weight
        floor = np.floor(square)
        whole += floor.astype(np.int64)
        fraction += _fixed(square - floor)
    return whole + fraction / _ONE


def _fixed(values: Array) -> Array:
    """rint(values * 2**40) as int64; `values` is float64 and is overwritten."""
    values *= _ONE
    return np.rint(values, out=values).astype(np.int64)
