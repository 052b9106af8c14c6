"""FedAvg's step: exact in float64, rounded once, and nothing else touched."""

from pathlib import Path

import numpy as np
import pytest

from server.aggregate import Folded, fold
from server.optimizers import FedAvg, Moments
from shared.update import PackedFile, Piece, join, pack


def write(path: Path, **state: np.ndarray) -> PackedFile:
    path.write_bytes(pack(state))
    return PackedFile(path)


def test_a_step_of_rate_one_gives_the_mean_of_the_local_models(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(50, 3)).astype(np.float32)
    local = [start + random.normal(size=(50, 3)).astype(np.float32) * 1e-2 for _ in range(4)]
    model = write(tmp_path / "model", w=start)
    updates = [(n, write(tmp_path / str(n), w=x - start)) for n, x in enumerate(local, start=1)]
    state = join(model.table(), FedAvg().step(model, fold(updates, model), {}))
    mean = sum(n * x.astype(np.float64) for n, x in enumerate(local, start=1)) / 10
    np.testing.assert_allclose(state["w"], mean, rtol=0, atol=3e-7)
    assert state["w"].dtype == np.float32


def test_the_rate_scales_changes_and_leaves_values(tmp_path: Path) -> None:
    model = write(tmp_path / "model", b=np.array([4], np.int64), w=np.array([1.0, 2.0], np.float32))
    moments: Moments = {}
    aggregate = [
        Folded("b", 0, np.array([9], np.int64), replaces=True),
        Folded("w", 0, np.array([1.0]), replaces=False),
        Folded("w", 1, np.array([7.0], np.float32), replaces=True),
    ]
    pieces = list(FedAvg(rate=0.5).step(model, aggregate, moments))
    assert [(p.name, p.start, p.values.tolist(), str(p.values.dtype)) for p in pieces] == [
        ("b", 0, [9], "int64"),
        ("w", 0, [1.5], "float32"),
        ("w", 1, [7.0], "float32"),
    ]
    assert isinstance(pieces[0], Piece)
    assert moments == {}


def test_rounding_happens_once(tmp_path: Path) -> None:
    """float32(1) + 2**-25 is 1 in float32 at once; three times rounded it would never move either."""
    model = write(tmp_path / "model", w=np.array([1.0], np.float32))
    change = np.array([3 * 2.0**-25])  # 1.5 ulp at 1: must round up to 2 ulp above, not truncate
    ((_, _, values),) = FedAvg().step(model, [Folded("w", 0, change, replaces=False)], {})
    assert values[0] == np.float32(1.0 + 3 * 2.0**-25)


@pytest.mark.parametrize("rate", [0.0, -1.0, 11.0, float("nan")])
def test_a_senseless_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError):
        FedAvg(rate=rate)
