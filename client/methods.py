"""The site's side of a study's method: what it makes of the global model, and what it keeps for itself.

A method is pure. A round begins with what came in and what the site kept from the last round of its
that counted, and ends with a change, which is released, and with what is kept for the next round, which
never leaves. How the weights are trained in between is `client/train.py`'s matter; what travels,
`shared/methods.py`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from client.change import Change, change_of
from shared.update import Array

State = Mapping[str, Array]


@dataclass(frozen=True)
class Method:
    """Every tensor travels, or, as in FedBN, all but the site's own, which go on where they were.

    Attributes:
        fresh: the site's own tensors in a model that nobody has trained; what the first round goes on from.
    """

    fresh: State

    def begin(self, incoming: State, kept: State | None) -> dict[str, np.ndarray]:
        """The whole state of the model to train or score.

        Args:
            incoming: the global model.
            kept: what `end` gave in the last round that counted; None before the first.
        """
        return {**incoming, **(self.fresh if kept is None else kept)}

    def end(self, incoming: State, trained: State) -> tuple[Change, State]:
        """What is released and what is kept.

        Args:
            incoming: the global model.
            trained: the whole state of the model after training.
        """
        change = change_of(incoming, {name: trained[name] for name in incoming})
        return change, {name: trained[name] for name in self.fresh}
