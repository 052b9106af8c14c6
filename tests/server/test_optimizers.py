"""Server optimizers: exact in float64, rounded once, nothing else touched, and as Flower's own where it has them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy

from server.aggregate import Folded, fold
from server.moments import Moments
from server.optimizers import FedAvg, optimizer_for
from shared.study import ServerSpec
from shared.update import PIECE_ELEMENTS, Array, PackedFile, Piece, join, pack


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


# ------------------------------------------------------------------ the same as Flower's

FLOWER = {
    "fedavgm": strategy.FedAvgM(server_learning_rate=0.7, server_momentum=0.9),
    "fedadam": strategy.FedAdam(eta=0.02, beta_1=0.8, beta_2=0.95, tau=1e-2),
    "fedyogi": strategy.FedYogi(eta=0.02, beta_1=0.8, beta_2=0.95, tau=1e-2),
    "fedadagrad": strategy.FedAdagrad(eta=0.02, tau=1e-2),
}
ASKED = {
    "fedavgm": {"learning_rate": 0.7, "momentum": 0.9},
    "fedadam": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "tau": 1e-2},
    "fedyogi": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "tau": 1e-2},
    "fedadagrad": {"learning_rate": 0.02, "tau": 1e-2},
}
ROUNDS, EXAMPLES = 5, (30, 50, 120)
STARTS = (0, PIECE_ELEMENTS, 2 * PIECE_ELEMENTS)

State = dict[str, Array]


def start() -> State:
    random = np.random.default_rng(0)
    return {
        "conv.weight": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "head.bias": random.normal(size=7).astype(np.float32),
    }


def changes() -> Iterator[list[State]]:
    """Of each round, what each site changed."""
    random = np.random.default_rng(1)
    for _ in range(ROUNDS):
        yield [
            {name: (1e-2 * random.normal(size=value.shape)).astype(np.float32) for name, value in start().items()}
            for _ in EXAMPLES
        ]


def flower_models(rule: strategy.FedAvg) -> Iterator[State]:
    """The model after each round, by Flower."""
    model = start()
    rule.current_arrays = record(model) if isinstance(rule, strategy.FedAvgM) else model
    for number, sites in enumerate(changes(), start=1):
        replies = [reply({k: model[k] + c[k] for k in model}, n) for c, n in zip(sites, EXAMPLES, strict=True)]
        arrays, _ = rule.aggregate_train(number, replies)
        assert arrays is not None
        model = {k: array.numpy() for k, array in arrays.items()}
        if not isinstance(rule, strategy.FedAvgM):
            rule.current_arrays = model
        yield model


def record(state: State) -> ArrayRecord:
    return ArrayRecord({name: FlowerArray(value) for name, value in state.items()})


def reply(state: State, examples: int) -> Message:
    content = RecordDict({"arrays": record(state), "metrics": MetricRecord({"num-examples": examples})})
    question = Message(RecordDict(), 1, "train")
    return Message(content, reply_to=question)


def our_models(folder: Path, spec: ServerSpec) -> Iterator[State]:
    """The model after each round, by ours: each round goes on from the last one's files alone."""
    model, last = write(folder / "model-0", **start()), None
    for number, sites in enumerate(changes(), start=1):
        updates = [(n, write(folder / f"{number}-{n}", **c)) for c, n in zip(sites, EXAMPLES, strict=True)]
        rule, target = optimizer_for(spec), folder / f"moments-{number}"
        with Moments(target, kinds=rule.kinds, tensors=model.table(), number=number, last=last) as moments:
            state = join(model.table(), rule.step(model, fold(updates, model), moments))
            last = target if moments.finish() else None
        model = write(folder / f"model-{number}", **state)
        yield state


@pytest.mark.usefixtures("flower_process")
@pytest.mark.parametrize("name", ASKED)
def test_a_rule_moves_as_flowers_does(tmp_path: Path, name: str) -> None:
    spec = ServerSpec.model_validate({"optimizer": name} | ASKED[name])
    for theirs, ours in zip(flower_models(FLOWER[name]), our_models(tmp_path, spec), strict=True):
        for key in theirs:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ASKED)
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
