"""Whether a round that came to no step has left the model as it was, as its worker's update proves.

Such a round is below no floor of the policy, because it tells nothing (`client/floors.py`): so it must tell nothing.
What is no sound update of the model's tensors is for the door to refuse (`client/contract.py`).
"""

from pathlib import Path

import numpy as np

from client.policy import Policy
from shared.errors import TrustError
from shared.update import PackedFile, Piece

_KEY = "steps_at_least"


def insist_on_no_change(policy: Policy, *, update: Path, model: Path) -> None:
    """Hold the update of a round without a step against the model that the round began with; two runs in memory.

    Args:
        policy: the site's.
        update: as the worker packed it.
        model: the incoming one.

    Raises:
        Refusal: it would change the model.
    """
    try:
        change, before = PackedFile(update), PackedFile(model)
        if _shapes(change) != _shapes(before):
            return
        moved = any(_moves(piece, before) for piece in change.pieces())
    except (TrustError, ValueError):
        return
    if moved:
        raise policy.refusal(_KEY, "the round came to 0 steps, and its update changes the model")


def _shapes(packed: PackedFile) -> dict[str, tuple[bool, tuple[int, ...]]]:
    """By name, whether a tensor is of integers, and its shape; a change may travel in fewer bits than the model."""
    return {tensor.name: (tensor.dtype == "int64", tensor.shape) for tensor in packed.table()}


def _moves(change: Piece, before: PackedFile) -> bool:
    """Integers travel as they are, other values as what is added (`client/work/change.py`)."""
    name, start, values = change
    if values.dtype.kind == "f":
        return bool(values.any())
    return not np.array_equal(values, before.run(name, start, start + values.size))
