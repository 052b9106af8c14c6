"""The server's move: the next global model from the last one and the aggregate of a round.

Decides the rule (Reddi et al. 2021, "Adaptive Federated Optimization", treats every such rule as an
optimizer whose gradient is the negated mean change). What was averaged is the fold's matter, where the
new model and what the rule remembers are kept the checkpoint's. FedProx (Li et al. 2020) differs from
FedAvg at the sites only and takes the same step.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np

from server.aggregate import Folded
from server.moments import Moments
from shared.server_step import ServerSpec
from shared.update import Array, PackedFile, Piece


class ServerOptimizer(ABC):
    """A rule that moves the global model once per round, in float64, rounded to float32 once.

    Attributes:
        kinds: what the rule remembers of each tensor between rounds.
        learning_rate: of the server.
    """

    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, learning_rate: float) -> None:
        if not 0 < learning_rate <= 10:
            raise ValueError("the server's learning rate lies in (0, 10]")
        self.learning_rate = learning_rate

    def step(self, model: PackedFile, aggregate: Iterable[Folded], moments: Moments) -> Iterator[Piece]:
        """The new model, piece by piece in the order of the aggregate.

        Args:
            model: the model that the sites started from.
            aggregate: what `server.aggregate.fold` yields.
            moments: what the rule remembers, with room for its `kinds`; the last round's, which are
                this round's once the last piece is drawn.
        """
        for name, start, values, replaces in aggregate:
            if replaces:
                yield Piece(name, start, values)
            else:
                incoming = model.run(name, start, start + values.size).astype(np.float64)
                move = self._move(values, _Run(moments, name, start))
                yield Piece(name, start, (incoming + move).astype(np.float32))

    @abstractmethod
    def _move(self, change: Array, memory: "_Run") -> Array:
        """How far one run of the model goes, float64 (n,), along one run of the aggregate, float64 (n,)."""


class _Run:
    """What is remembered of one run of one tensor."""

    def __init__(self, moments: Moments, name: str, start: int) -> None:
        self.number = moments.number
        self._moments = moments
        self._place = (name, start)

    def last(self, kind: str, size: int) -> Array:
        return self._moments.read(kind, *self._place, size)

    def keep(self, kind: str, values: Array) -> Array:
        self._moments.write(kind, *self._place, values)
        return values


class FedAvg(ServerOptimizer):
    """move = rate * change (McMahan et al. 2017); at rate 1 the weighted mean of the sites' models."""

    def __init__(self, *, learning_rate: float = 1.0) -> None:
        super().__init__(learning_rate=learning_rate)

    def _move(self, change: Array, memory: _Run) -> Array:
        return self.learning_rate * change


class FedAvgM(ServerOptimizer):
    """FedAvg with momentum (Hsu, Qi and Brown 2019): m = momentum * m + change, move = rate * m."""

    kinds = ("momentum",)

    def __init__(self, *, learning_rate: float = 1.0, momentum: float = 0.9) -> None:
        super().__init__(learning_rate=learning_rate)
        self._momentum = momentum

    def _move(self, change: Array, memory: _Run) -> Array:
        return self.learning_rate * memory.keep(
            "momentum", self._momentum * memory.last("momentum", change.size) + change
        )


class Adaptive(ServerOptimizer):
    """move = rate * m / (sqrt(v) + tau), with m = beta_1 * m + (1 - beta_1) * change; how v grows is the rule's.

    Algorithm 2 of Reddi et al. 2021, with moments that begin at zero, as in Flower.
    """

    kinds: ClassVar[tuple[str, ...]] = ("momentum", "variance")

    def __init__(self, *, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 1e-3) -> None:
        super().__init__(learning_rate=learning_rate)
        self._beta_1, self._beta_2, self._tau = beta_1, beta_2, tau

    def _move(self, change: Array, memory: _Run) -> Array:
        mean = self._mean(change, memory)
        variance = memory.keep("variance", self._variance(memory.last("variance", change.size), np.square(change)))
        return self._rate(memory.number) * mean / (np.sqrt(variance) + self._tau)

    def _mean(self, change: Array, memory: _Run) -> Array:
        last = memory.last("momentum", change.size)
        return memory.keep("momentum", self._beta_1 * last + (1 - self._beta_1) * change)

    def _rate(self, number: int) -> float:
        return self.learning_rate

    @abstractmethod
    def _variance(self, last: Array, square: Array) -> Array:
        """The new v from the last one and the squared change, all float64 (n,)."""


class FedAdam(Adaptive):
    """v = beta_2 * v + (1 - beta_2) * change**2, with the rate corrected for moments that began at zero.

    The correction is Kingma and Ba's (2015, end of section 2), its exponent the round plus one as in
    Flower; Algorithm 2 has none and starts from v = tau**2.
    """

    def _rate(self, number: int) -> float:
        return self.learning_rate * math.sqrt(1 - self._beta_2 ** (number + 1)) / (1 - self._beta_1 ** (number + 1))

    def _variance(self, last: Array, square: Array) -> Array:
        return self._beta_2 * last + (1 - self._beta_2) * square


class FedYogi(Adaptive):
    """v = v - (1 - beta_2) * change**2 * sign(v - change**2)."""

    def _variance(self, last: Array, square: Array) -> Array:
        sign: Array = np.sign(last - square)
        return last - (1 - self._beta_2) * square * sign


class FedAdagrad(Adaptive):
    """v = v + change**2, and m = change."""

    kinds = ("variance",)

    def __init__(self, *, learning_rate: float, tau: float = 1e-3) -> None:
        super().__init__(learning_rate=learning_rate, tau=tau)

    def _mean(self, change: Array, memory: _Run) -> Array:
        return change

    def _variance(self, last: Array, square: Array) -> Array:
        return last + square


_RULES: dict[str, type[ServerOptimizer]] = {
    "fedavg": FedAvg,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "fedadagrad": FedAdagrad,
}


def optimizer_for(spec: ServerSpec) -> ServerOptimizer:
    """The rule that a study asks for."""
    given = spec.model_dump(exclude={"optimizer"}, exclude_none=True)
    return _RULES[spec.optimizer](**given)
