"""How far a model may be from the one that this site saw last in the same study.

A crafted model can turn an update into an image, and the cruder ways of crafting one move its weights by
more than any round of training does. So of all floating-point values together

    change <= rounds passed x policy.model_change_at_most x max(norm of the model seen last, FLOOR x sqrt(values))

where the floor is for models that are all but zero. The policy's default is far above what server optimizers
do (`docs/site-file.md` has what was measured), and no bound sees weights that were crafted at an ordinary size: that
is for floors, private training and secure aggregation. The first model has nothing to be held against.

The model seen last lies in the study's spool folder, as a second name of the bytes that were checked. Trips that
only score bring older models or sites' own, and are not held against it.

It stays when the study is closed: a study that is opened again under the same contract is held to it, so that closing
one is no way around the bound. When a study is opened, those that are closed and whose contract has run out lose it.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from client.policy import Policy
from shared.address import Stage
from shared.durable import name_again
from shared.errors import TrustError, WireCode
from shared.update import Array, PackedFile
from shared.wire import Work

FLOOR = 0.01  # root mean square of the values
_KEY = "model_change_at_most"
_PREFIX = "seen-"


def check_moved(model: Path, folder: Path, *, work: Work, policy: Policy) -> float | None:
    """Hold the model of a round against the last one, and keep it for the next; two runs in memory at a time.

    Args:
        model: a sound file of the study's tensors.
        folder: the study's, in the spool.
        work: what it came with.
        policy: the site's.

    Returns:
        How far it moved in a round, in norms of the last one; None if it is the first, or is scored alone.

    Raises:
        Refusal: `MODEL_JUMPED`; the model seen last stays.
    """
    if work.address.stage is not Stage.TRAIN:
        return None
    number, moved = work.address.round, None
    if seen := dict(_files(folder)):
        last = max(seen)
        moved = model_change(model, seen[last], rounds=max(number - last, 1))
        if moved is not None and not moved <= policy.model_change_at_most:
            asked = f"the model moved by {moved:.3g} of its norm in a round"
            raise policy.refusal(_KEY, asked, code=WireCode.MODEL_JUMPED)
    kept = folder / f"{_PREFIX}{number:06d}{model.suffix}"
    kept.unlink(missing_ok=True)
    name_again(model, kept)
    forget_seen(folder, but=number)
    return None if moved is None else float(f"{moved:.3g}")


def model_change(model: Path, before: Path, *, rounds: int = 1) -> float | None:
    """The norm of a change, for each round, in norms of the earlier model; None of models of different tables."""
    try:
        moved, norm, count = _distance(PackedFile(model), PackedFile(before))
    except (TrustError, ValueError):  # what lies here is no model any more, or another table's after an amendment
        return None
    reference = max(norm, FLOOR * math.sqrt(count))
    return moved / (rounds * reference) if reference else None


def forget_seen(folder: Path, *, but: int | None = None) -> None:
    """Remove the models seen in a study, but that of one round."""
    for number, path in _files(folder):
        if number != but:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"{_PREFIX}[0-9]*"):
        if (number := path.stem.removeprefix(_PREFIX)).isdigit():
            yield int(number), path


def _distance(model: PackedFile, before: PackedFile) -> tuple[float, float, int]:
    """Norm of the change, norm of the earlier model, and number of values; of floating-point tensors."""
    moved, norm, count = 0.0, 0.0, 0
    for new, old in zip(model.pieces(), before.pieces(), strict=True):
        if (new.name, new.values.shape) != (old.name, old.values.shape):
            raise ValueError("two models of different tables")
        if new.values.dtype.kind == "f":
            moved += _squares(np.subtract(new.values, old.values, dtype=np.float64))
            norm += _squares(old.values)
            count += old.values.size
    return math.sqrt(moved), math.sqrt(norm), count


def _squares(values: Array) -> float:
    """The sum of the squares of (n,), in float64, without an array of them."""
    return float(np.einsum("i,i->", values, values, dtype=np.float64))
