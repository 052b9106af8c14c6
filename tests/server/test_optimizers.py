"""Server optimizers: exact in float64, rounded once, nothing else touched, and as Flower's own where it has them."""

from pathlib import Path

import numpy as np
import pytest

from deploy.bench.flower_rules import differences
from server.aggregate import Folded, fold
from server.moments import Moments
from server.optimizers import FedAvg, optimizer_for
from shared.server_step import ServerSpec
from shared.update import PIECE_ELEMENTS, PackedFile, Piece, join, pack


def write(path: Path, **state: np.ndarray) -> PackedFile:
    path.write_bytes(pack(state))
    return PackedFile(path)


def nothing(folder: Path) -> Moments:
    """What a rule that remembers nothing is given."""
    return Moments(folder / "none", kinds=(), tensors=(), number=1)


def test_a_step_of_rate_one_gives_the_mean_of_the_local_models(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(50, 3)).astype(np.float32)
    local = [start + random.normal(size=(50, 3)).astype(np.float32) * 1e-2 for _ in range(4)]
    model = write(tmp_path / "model", w=start)
    updates = [(n, write(tmp_path / str(n), w=x - start)) for n, x in enumerate(local, start=1)]
    state = join(model.table(), FedAvg().step(model, fold(updates, model), nothing(tmp_path)))
    mean = sum(n * x.astype(np.float64) for n, x in enumerate(local, start=1)) / 10
    np.testing.assert_allclose(state["w"], mean, rtol=0, atol=3e-7)
    assert state["w"].dtype == np.float32


def test_the_rate_scales_changes_and_leaves_values(tmp_path: Path) -> None:
    model = write(tmp_path / "model", b=np.array([4], np.int64), w=np.array([1.0, 2.0], np.float32))
    aggregate = [
        Folded("b", 0, np.array([9], np.int64), replaces=True),
        Folded("w", 0, np.array([1.0]), replaces=False),
        Folded("w", 1, np.array([7.0], np.float32), replaces=True),
    ]
    pieces = list(FedAvg(learning_rate=0.5).step(model, aggregate, nothing(tmp_path)))
    assert [(p.name, p.start, p.values.tolist(), str(p.values.dtype)) for p in pieces] == [
        ("b", 0, [9], "int64"),
        ("w", 0, [1.5], "float32"),
        ("w", 1, [7.0], "float32"),
    ]
    assert isinstance(pieces[0], Piece)


def test_rounding_happens_once(tmp_path: Path) -> None:
    """float32(1) + 2**-25 is 1 in float32 at once; three times rounded it would never move either."""
    model = write(tmp_path / "model", w=np.array([1.0], np.float32))
    change = np.array([3 * 2.0**-25])  # 1.5 ulp at 1: must round up to 2 ulp above, not truncate
    ((_, _, values),) = FedAvg().step(model, [Folded("w", 0, change, replaces=False)], nothing(tmp_path))
    assert values[0] == np.float32(1.0 + 3 * 2.0**-25)


@pytest.mark.parametrize("rate", [0.0, -1.0, 11.0, float("nan")])
def test_a_senseless_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError):
        FedAvg(learning_rate=rate)


# ------------------------------------------------------------------ rules with a memory

RULES = ("fedavgm", "fedadam", "fedyogi", "fedadagrad")
STARTS = (0, PIECE_ELEMENTS, 2 * PIECE_ELEMENTS)


@pytest.mark.usefixtures("flower_process")
def test_every_rule_moves_as_flowers_own(tmp_path: Path) -> None:
    """Five rounds of three sites; each of ours goes on from the last round's files alone."""
    found = differences(tmp_path)
    assert found.keys() == {"fedavg", *RULES}
    assert max(found.values()) <= 1e-6


@pytest.mark.parametrize("name", RULES)
def test_the_runs_of_a_large_tensor_are_remembered_apart(tmp_path: Path, name: str) -> None:
    """A tensor of several pieces moves as its parts would alone."""
    random, rule = np.random.default_rng(2), optimizer_for(ServerSpec.model_validate({"optimizer": name}))
    size = 2 * PIECE_ELEMENTS + 3
    whole, last = np.zeros(size, np.float32), None
    parts = {f"part-{n}": whole[n * PIECE_ELEMENTS : (n + 1) * PIECE_ELEMENTS] for n in range(3)}
    model = write(tmp_path / "model", whole=whole, **parts)
    for number in (1, 2):
        change = random.normal(size=size)
        aggregate = [Folded("whole", start, change[start:][:PIECE_ELEMENTS], replaces=False) for start in STARTS]
        aggregate += [
            Folded(f"part-{n}", 0, change[start:][:PIECE_ELEMENTS], replaces=False) for n, start in enumerate(STARTS)
        ]
        with Moments(
            tmp_path / f"m{number}", kinds=rule.kinds, tensors=model.table(), number=number, last=last
        ) as moments:
            state = join(model.table(), rule.step(model, aggregate, moments))
            moments.finish()
        last = tmp_path / f"m{number}"
    np.testing.assert_array_equal(state["whole"], np.concatenate([state[part] for part in parts]))
    assert np.unique(state["whole"]).size > 1000


def test_values_that_replace_are_not_moved_by_any_rule(tmp_path: Path) -> None:
    model = write(tmp_path / "model", **{"norm.running_mean": np.array([1.0, 2.0], np.float32)})
    rule = optimizer_for(ServerSpec(optimizer="fedadam"))
    replaced = [Folded("norm.running_mean", 0, np.array([5.0, 6.0], np.float32), replaces=True)]
    with Moments(tmp_path / "m", kinds=rule.kinds, tensors=model.table(), number=1) as moments:
        ((_, _, values),) = rule.step(model, replaced, moments)
    assert values.tolist() == [5.0, 6.0]


# ------------------------------------------------------------------ what a study may ask


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"momentum": 0.9}, "fedavg takes learning_rate; it has no momentum"),
        ({"optimizer": "fedadagrad", "beta_1": 0.5}, "it has no beta_1"),
        ({"optimizer": "fedavgm", "tau": 0.5, "beta_2": 0.5}, "it has no beta_2, tau"),
        ({"optimizer": "sgd"}, "Input should be 'fedavg'"),
        ({"optimizer": "fedavgm", "momentum": 1.0}, "less than 1"),
    ],
)
def test_a_key_that_does_not_belong_is_refused(asked: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ServerSpec.model_validate(asked)


def test_a_rule_has_its_papers_numbers_unless_the_study_gives_others() -> None:
    assert ServerSpec().learning_rate == 1.0
    assert ServerSpec(optimizer="fedyogi", tau=0.1).model_dump(exclude_none=True) == {
        "optimizer": "fedyogi",
        "learning_rate": 0.01,
        "beta_1": 0.9,
        "beta_2": 0.99,
        "tau": 0.1,
    }
    spec = ServerSpec(optimizer="fedadam")
    assert ServerSpec.model_validate_json(spec.model_dump_json()) == spec
