"""The one slot for everything that alters what a site returns, in one visible order.

    clip -> noise -> compress        or        clip -> quantise -> mask

The change itself is decided here (floating-point tensors: local minus incoming; integer tensors:
the local value, as `shared.update` says); the steps are given by whoever holds the policy, and `IDENTITY`
sends the change as it is. Private training clips and noises while it trains (`client/work/private_training.py`); how a
change is compressed, which leaves a residual, is `client/work/compression.py`'s.
"""

from collections.abc import Callable, Mapping

import numpy as np

from shared.update import Array

Change = dict[str, Array]
Step = Callable[[Change], Change]

IDENTITY: tuple[Step, ...] = ()


def change_of(incoming: Mapping[str, Array], local: Mapping[str, Array]) -> Change:
    """What training changed: float32 local - incoming, int64 local.

    Raises:
        ValueError: the two states differ in names, shapes or dtypes.
    """
    if _table(incoming) != _table(local):
        raise ValueError("the local state does not have the tensors of the incoming one")
    return {name: _difference(incoming[name], value) for name, value in local.items()}


def apply(change: Change, steps: tuple[Step, ...] = IDENTITY) -> Change:
    """Pass a change through the steps, first to last."""
    for step in steps:
        change = step(change)
    return change


def _table(state: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(value.dtype), value.shape) for name, value in state.items()}


def _difference(before: Array, after: Array) -> Array:
    return np.asarray(after - before) if np.issubdtype(after.dtype, np.floating) else after.copy()
