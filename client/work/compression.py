"""Changes in bfloat16, with error feedback: the last step of the slot in `client/work/change.py`.

What rounding takes from a change, the residual, stays at the site and is added to its next change before that is
rounded (Seide et al. 2014; Karimireddy et al. 2019, "Error Feedback Fixes SignSGD", Algorithm 1). So what was sent in
all rounds together lacks one residual alone, at most 2**-8 of one change: small changes are not lost, they are sent
later. The residual is kept in bfloat16, too, which loses 2**-16 of a change.

It lies in the site's state of its round, under `residual/` (`client/spool.py`), and never leaves. It is made
after the noise of private training, and so tells no more than what is released. It is not used any more when others
have withdrawn than when it was made: nobody's part is sent who is not asked any more.
"""

import hashlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from client.work.change import Change
from client.work.methods import State
from shared.update import Tensors, rounded, table_of, with_dtype

_RESIDUAL = "residual/"  # then the name of the tensor
_WITHDRAWN = "withdrawn"  # (4,) int64, the SHA-256 of who had withdrawn when the residual was made


def compress(change: Change, residual: State, *, names: Collection[str]) -> tuple[Change, State]:
    """Round some tensors of a change to bfloat16, to nearest, ties to even.

    Args:
        change: by name; those to round are float32.
        residual: of the last round that counted; empty before the first.
        names: of the tensors to round.

    Returns:
        The change, float32 that bfloat16 holds where it was rounded, and the new residual, as such numbers, too.
    """
    whole = {name: change[name] + residual.get(name, np.float32(0)) for name in names}
    sent = {name: rounded(value) for name, value in whole.items()}
    return change | sent, {name: rounded(whole[name] - sent[name]) for name in names}


def joined(own: State, residual: State, *, withdrawn: Collection[bytes]) -> State:
    """What the site keeps of a round: what its method does, and the residual, with the mark of who had withdrawn.

    Args:
        own: what the method keeps.
        residual: empty if there is none.
        withdrawn: keyed hashes (`client/privacy/patients.py`).
    """
    if not residual:
        return own
    return {**own, **{_RESIDUAL + name: value for name, value in residual.items()}, _WITHDRAWN: _mark(withdrawn)}


def kept_table(kept: State) -> Tensors:
    """The table in which it is packed: the residual in bfloat16."""
    return tuple(with_dtype(t, "bfloat16") if t.name.startswith(_RESIDUAL) else t for t in table_of(kept))


def taken_apart(kept: State, *, withdrawn: Collection[bytes]) -> tuple[State, State]:
    """What the method kept, and the residual; none of that if others have withdrawn."""
    marks = {name for name in kept if name.startswith(_RESIDUAL)}
    own = {name: value for name, value in kept.items() if name not in marks | {_WITHDRAWN}}
    if _WITHDRAWN not in kept or not np.array_equal(kept[_WITHDRAWN], _mark(withdrawn)):
        return own, {}
    return own, {name.removeprefix(_RESIDUAL): kept[name] for name in marks}


def _mark(withdrawn: Collection[bytes]) -> NDArray[np.int64]:
    return np.frombuffer(hashlib.sha256(b"".join(sorted(withdrawn))).digest(), "<i8").astype(np.int64)
