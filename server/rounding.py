"""A global model that travels in bfloat16, beside what rounding took from it, which the server keeps.

The sites get the rounded model, and all that is said of a model, its digest and its scores, is of that one. What
rounding took is remembered with the optimizer's moments and added to the next model before that is rounded, so that
moves too small for bfloat16 add up: together both are the master weights of mixed precision training (Micikevicius
et al. 2018, section 3.1).
"""

from collections.abc import Iterable, Iterator

import numpy as np

from server.aggregate import Folded
from server.moments import RESIDUAL, Moments
from server.optimizers import ServerOptimizer, optimizer_for
from shared.study import Study
from shared.update import PackedFile, Piece, rounded


def mover_of(study: Study) -> "ServerOptimizer | Rounding":
    """What moves the model of a study."""
    rule = optimizer_for(study.server)
    return Rounding(rule) if study.transfer.model_dtype == "bfloat16" else rule


class Rounding:
    """A server optimizer whose models are rounded.

    Args:
        rule: moves the model.

    Attributes:
        kinds: what is remembered of each tensor between rounds.
    """

    def __init__(self, rule: ServerOptimizer) -> None:
        self._rule = rule
        self.kinds = (*rule.kinds, RESIDUAL)

    def step(self, model: PackedFile, aggregate: Iterable[Folded], moments: Moments) -> Iterator[Piece]:
        """As the rule's, each tensor in the model's own dtype."""
        for piece in self._rule.step(model, aggregate, moments):
            if not _travels_rounded(model, piece.name):
                yield piece
                continue
            name, start, values = piece
            whole = values + moments.read(RESIDUAL, name, start, values.size)
            sent = rounded(whole.astype(np.float32))
            moments.write(RESIDUAL, name, start, rounded((whole - sent).astype(np.float32)))
            yield Piece(name, start, sent)


def without_rest(pieces: Iterable[Piece], model: PackedFile) -> Iterator[Piece]:
    """Pieces of a model in the dtypes of another one; what rounding takes is forgotten."""
    for piece in pieces:
        yield piece._replace(values=rounded(piece.values)) if _travels_rounded(model, piece.name) else piece


def _travels_rounded(model: PackedFile, name: str) -> bool:
    return model.declared()[name][0] == "bfloat16"
