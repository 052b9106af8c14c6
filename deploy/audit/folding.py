"""A round's model made again from its updates, bit for bit: the auditor's own arithmetic, apart from the server's.

In the order in which it is done:

1. site i weighs n_i examples times its discount; p_i is its share of the sum, equal for all where nobody counts one;
2. a change x of site i becomes the integer rint(x * w_i * 2**40); integers are added, which no order changes, and
   divided by 2**40. w_i is p_i; in a buffered round n_i over the sum of the undiscounted examples; under FedNova
   p_i * e / a_i, a_i the effort of its steps and e = sum p_j a_j, divided by the sum of these, and the mean times it;
3. buffers: the largest of integers; the weighted mean of running_mean; for running_var the law of total variance;
4. control variates (SCAFFOLD) move by the mean change times the cohort's share of all declared examples;
5. the server's optimizer moves the rest, in float64, rounded to float32 once; what it remembers is rounded to float32;
6. of what travels in bfloat16, what the last rounding took is added, and the sum rounded; what that takes, too.

Whole tensors stand in memory, of each update one at a time. Which updates they are, `remade.py` decides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.server_step import ServerSpec
from shared.study import Study
from shared.update import CONTROL, Array, PackedFile, rounded

State = Mapping[str, Array]
_ONE = float(2**40)


@dataclass(frozen=True)
class Weighed:
    """An update that counted, and what the journal says of it; `discount` is below 1 if it was late."""

    packed: PackedFile
    examples: int
    discount: float
    steps: int


@dataclass
class Remembered:
    """What the server's optimizer keeps from round to round, float32, by kind and tensor."""

    moments: dict[tuple[str, str], Array] = field(default_factory=dict)

    def last(self, kind: str, like: str, shape: tuple[int, ...]) -> Array:
        """Zeros before the first round; float64."""
        return self.moments.get((kind, like), np.zeros(shape, np.float32)).astype(np.float64)

    def keep(self, kind: str, like: str, values: Array) -> Array:
        """The values, unrounded, as this round uses them."""
        self.moments[kind, like] = values.astype(np.float32)
        return values


def next_model(
    model: State, updates: Sequence[Weighed], study: Study, remembered: Remembered, *, number: int, share: float
) -> dict[str, Array]:
    """The model after round `number`, from the one before it.

    Args:
        model: as the round started.
        updates: of every site that counted, in any order.
        study: says by which method.
        remembered: after the round before; changed to what it is after this one.
        number: of the round, from 1.
        share: of all declared examples, those of these updates' sites.
    """
    mean, made = _Mean.of(updates, study), dict[str, Array]()
    narrow = study.transfer.model_dtype == "bfloat16"
    with np.errstate(all="ignore"):  # whatever a journal let in: what is no number makes another model
        for name in sorted(model):
            made[name] = _tensor(name, model, mean, study.server, remembered, number=number, share=share, narrow=narrow)
    return made


@dataclass(frozen=True)
class _Mean:
    files: tuple[PackedFile, ...]
    shares: tuple[float, ...]
    pulls: tuple[float, ...]
    scale: float

    @classmethod
    def of(cls, updates: Sequence[Weighed], study: Study) -> "_Mean":
        weights = [update.examples * update.discount for update in updates]
        files, counted = tuple(update.packed for update in updates), math.fsum(weights)
        shares = tuple(n / counted if counted else 1 / len(weights) for n in weights)
        if study.training is not None and study.training.algorithm == "fednova":
            efforts = [_effort(update.steps, study.training.momentum) for update in updates]
            return cls(files, shares, *_normalised(shares, efforts))
        total = sum(update.examples for update in updates) if study.rounds.buffer else 0
        return cls(files, shares, tuple(n / total for n in weights) if total else shares, 1.0)

    def change(self, name: str, weights: Sequence[float]) -> Array:
        weighed = (file.tensor(name).astype(np.float64) * w for file, w in zip(self.files, weights, strict=True))
        return np.asarray(sum(np.rint(values * _ONE).astype(np.int64) for values in weighed) / _ONE)


def _effort(steps: int, momentum: float) -> float:
    """How far so many steps of SGD go (Wang et al. 2020, section 4)."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


def _normalised(shares: Sequence[float], efforts: Sequence[float]) -> tuple[tuple[float, ...], float]:
    mean = math.fsum(p * a for p, a in zip(shares, efforts, strict=True))
    pulls = [p * mean / a if a else 0.0 for p, a in zip(shares, efforts, strict=True)]
    scale = math.fsum(pulls)
    return tuple(w / scale if scale else 0.0 for w in pulls), scale


def _tensor(
    name: str,
    model: State,
    mean: _Mean,
    server: ServerSpec,
    remembered: Remembered,
    *,
    number: int,
    share: float,
    narrow: bool,
) -> Array:
    before = model[name]
    if before.dtype == np.int64:
        return np.asarray(np.maximum.reduce([file.tensor(name) for file in mean.files]))
    if name.startswith(CONTROL):
        return np.asarray(before + share * mean.change(name, mean.shares)).astype(np.float32)
    last = name.rpartition(".")[2]
    if last in ("running_mean", "running_var"):
        value = before.astype(np.float64) + mean.change(name, mean.shares)
        if last == "running_var":
            value = np.maximum(value + _spread(name.removesuffix(last) + "running_mean", before, model, mean), 0.0)
        return value.astype(np.float32)
    move = _move(name, mean.scale * mean.change(name, mean.pulls), server, remembered, number)
    moved = (before.astype(np.float64) + move).astype(np.float32)
    return _rounded(name, moved, remembered) if narrow else moved


def _rounded(name: str, moved: Array, remembered: Remembered) -> Array:
    whole = moved + remembered.last("residual", name, moved.shape)
    sent = rounded(whole.astype(np.float32))
    remembered.keep("residual", name, rounded((whole - sent).astype(np.float32)))
    return sent


def _spread(name: str, variance: Array, model: State, mean: _Mean) -> Array:
    """sum p_i (m_i - m)**2, whole and fraction of each term added apart, so that neither overflows."""
    if name not in model or model[name].dtype != np.float32 or model[name].shape != variance.shape:
        return np.zeros(variance.shape)
    centre = mean.change(name, mean.shares)
    whole, fraction = np.zeros(variance.shape, np.int64), np.zeros(variance.shape, np.int64)
    for file, weight in zip(mean.files, mean.shares, strict=True):
        square = (file.tensor(name).astype(np.float64) - centre) ** 2 * weight
        floor = np.floor(square)
        whole += floor.astype(np.int64)
        fraction += np.rint((square - floor) * _ONE).astype(np.int64)
    return np.asarray(whole + fraction / _ONE)


def _move(name: str, change: Array, server: ServerSpec, remembered: Remembered, number: int) -> Array:
    """McMahan et al. 2017; Hsu et al. 2019; Reddi et al. 2021, whose Adam is corrected as in Kingma and Ba 2015."""
    rate, rule = server.learning_rate or 0.0, server.optimizer
    if rule == "fedavg":
        return np.asarray(rate * change)
    momentum, square = remembered.last("momentum", name, change.shape), np.square(change)
    if rule == "fedavgm":
        assert server.momentum is not None
        return np.asarray(rate * remembered.keep("momentum", name, server.momentum * momentum + change))
    variance = remembered.last("variance", name, change.shape)
    if rule == "fedadagrad":
        assert server.tau is not None
        return np.asarray(rate * change / (np.sqrt(remembered.keep("variance", name, variance + square)) + server.tau))
    assert server.beta_1 is not None and server.beta_2 is not None and server.tau is not None
    one, two = server.beta_1, server.beta_2
    momentum = remembered.keep("momentum", name, one * momentum + (1 - one) * change)
    if rule == "fedadam":
        rate = rate * math.sqrt(1 - two ** (number + 1)) / (1 - one ** (number + 1))
        variance = two * variance + (1 - two) * square
    else:
        variance = variance - (1 - two) * square * np.sign(variance - square)
    return np.asarray(rate * momentum / (np.sqrt(remembered.keep("variance", name, variance)) + server.tau))
