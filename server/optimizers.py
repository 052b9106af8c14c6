"""The server's move: the next global model from the last one and the aggregate of a round.

Decides the rule (Reddi et al. 2021, "Adaptive Federated Optimization", treats every such rule as an
optimizer whose gradient is the negated aggregate). What was averaged is the fold's matter, where the
new model is kept the checkpoint's. FedProx (Li et al. 2020) differs from FedAvg at the sites only
and takes the same step.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from server.aggregate import Folded
from shared.update import Array, PackedFile, Piece

Moments = dict[str, Array]


class ServerOptimizer(Protocol):
    """A rule that moves the global model once per round."""

    def step(self, model: PackedFile, aggregate: Iterable[Folded], moments: Moments) -> Iterator[Piece]:
        """The new model, piece by piece in the order of the aggregate.

        Args:
            model: the model that the sites started from.
            aggregate: what `server.aggregate.fold` yields.
            moments: what the rule remembers between rounds, saved with the checkpoint; a copy of the
                last round's, which is this round's once the last piece is drawn.
        """
        ...


class FedAvg:
    """new = model + rate * aggregate (McMahan et al. 2017), in float64, rounded to float32 once.

    Attributes:
        rate: the server's learning rate; 1 is the weighted mean of the sites' models.
    """

    def __init__(self, *, rate: float = 1.0) -> None:
        if not 0 < rate <= 10:
            raise ValueError("the server's learning rate lies in (0, 10]")
        self.rate = rate

    def step(self, model: PackedFile, aggregate: Iterable[Folded], moments: Moments) -> Iterator[Piece]:
        """As `ServerOptimizer.step`; FedAvg remembers nothing, so `moments` stays empty."""
        for name, start, values, replaces in aggregate:
            if replaces:
                yield Piece(name, start, values)
            else:
                incoming = model.run(name, start, start + values.size).astype(np.float64)
                yield Piece(name, start, (incoming + self.rate * values).astype(np.float32))
