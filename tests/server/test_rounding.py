"""A model that travels rounded moves as far as one that does not: what rounding takes comes with the next move."""

from pathlib import Path

import numpy as np
import pytest

from server.aggregate import Folded
from server.moments import RESIDUAL, Moments, moment_table
from server.optimizers import FedAvg, FedAvgM, ServerOptimizer
from server.rounding import Rounding, without_rest
from shared.update import Array, PackedFile, Tensors, join, model_table, pack, rounded, rounded_to, table_of

STATE = {
    "head.weight": np.linspace(0.5, 2, 9, dtype=np.float32),
    "norm.running_var": np.full(2, 1.001, np.float32),
    "control/head.weight": np.full(9, 0.001, np.float32),
    "seen": np.array(3, np.int64),
}
TABLE = model_table(table_of(STATE), "bfloat16")


def moved(folder: Path, rule: ServerOptimizer, move: Array, *, rounds: int) -> tuple[list[dict[str, Array]], Path]:
    """The models of rounds that all have this mean change, and what is remembered in the end."""
    rounding, model, last = Rounding(rule), rounded_to(STATE, TABLE), None
    models = []
    for number in range(1, rounds + 1):
        (folder / "model").write_bytes(pack(model, TABLE))
        target = folder / f"moments-{number}"
        with Moments(target, kinds=rounding.kinds, tensors=TABLE, number=number, last=last) as moments:
            aggregate = [
                Folded("seen", 0, np.array([number]), replaces=True),
                Folded("control/head.weight", 0, np.full(9, 0.1, np.float32), replaces=True),
                Folded("norm.running_var", 0, np.full(2, 1.001, np.float32), replaces=True),
                Folded("head.weight", 0, move, replaces=False),
            ]
            model = join(TABLE, rounding.step(PackedFile(folder / "model"), aggregate, moments))
            assert moments.finish()
        models.append(model)
        last = target
    return models, target


@pytest.mark.parametrize(("rule", "gain"), [(FedAvg(), 40.0), (FedAvgM(momentum=0.5), 79.0)])
def test_moves_too_small_for_bfloat16_add_up(tmp_path: Path, rule: ServerOptimizer, gain: float) -> None:
    move = np.full(9, 2.0**-12)
    models, _ = moved(tmp_path, rule, move, rounds=40)
    start = rounded(STATE["head.weight"])
    assert np.array_equal(rounded(start + move.astype(np.float32)), start)  # one move alone is lost
    final = models[-1]["head.weight"]
    assert np.array_equal(final, rounded(final))
    assert np.allclose(final, start + gain * move, rtol=2**-8, atol=0)
    assert (final > start).all()


def test_only_what_is_learned_is_rounded(tmp_path: Path) -> None:
    dtypes = {t.name: t.dtype for t in TABLE}
    assert dtypes == {
        "head.weight": "bfloat16",
        "norm.running_var": "float32",
        "control/head.weight": "float32",
        "seen": "int64",
    }
    models, remembered = moved(tmp_path, FedAvg(), np.zeros(9), rounds=1)
    assert models[0]["norm.running_var"][0] == np.float32(1.001)
    assert PackedFile(remembered).declared() == {"residual/head.weight": ("bfloat16", (9,))}
    assert kinds(moment_table(("momentum", RESIDUAL), TABLE)) == {"momentum": 3, RESIDUAL: 1}


def kinds(table: Tensors) -> dict[str, int]:
    names = [tensor.name.partition("/")[0] for tensor in table]
    return {name: names.count(name) for name in names}


def test_a_model_that_is_made_once_forgets_the_rest(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(pack(rounded_to(STATE, TABLE), TABLE))
    model = PackedFile(tmp_path / "model")
    pieces = (piece._replace(values=piece.values + piece.values.dtype.type(1)) for piece in model.pieces())
    made = join(TABLE, without_rest(pieces, model))
    assert np.array_equal(made["head.weight"], rounded(rounded(STATE["head.weight"]) + np.float32(1)))
    assert made["norm.running_var"][0] == np.float32(1.001) + np.float32(1)
