"""Our server optimizers beside Flower's own strategies, on the same changes of the same sites.

Decides the inputs and measures the largest difference of a weight; what difference is too large is
decided by the benchmark.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy
from flwr.supercore.task_identity import TaskIdentity

from server.aggregate import fold
from server.moments import Moments
from server.optimizers import optimizer_for
from shared.server_step import ServerSpec
from shared.update import Array, PackedFile, join, pack

ROUNDS, EXAMPLES = 5, (30, 50, 120)
BETAS = {"beta_1": 0.8, "beta_2": 0.95}
_ASKED: dict[str, dict[str, float]] = {
    "fedavg": {},
    "fedavgm": {"learning_rate": 0.7, "momentum": 0.9},
    "fedadam": {"learning_rate": 0.02, "tau": 1e-2, **BETAS},
    "fedyogi": {"learning_rate": 0.02, "tau": 1e-2, **BETAS},
    "fedadagrad": {"learning_rate": 0.02, "tau": 1e-2},
}

State = dict[str, Array]


def differences(folder: Path) -> dict[str, float]:
    """By optimizer, the largest difference of any weight after any round; `folder` is empty."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    return {name: _difference(name, folder) for name in _ASKED}


def _difference(name: str, folder: Path) -> float:
    (place := folder / name).mkdir()
    pairs = zip(_ours(name, place), _theirs(name), strict=True)
    return max(float(np.abs(ours[k] - theirs[k]).max()) for ours, theirs in pairs for k in theirs)


def _start() -> State:
    random = np.random.default_rng(0)
    return {
        "conv.weight": (0.1 * random.normal(size=(8, 3, 3, 3))).astype(np.float32),
        "head.bias": (0.1 * random.normal(size=16)).astype(np.float32),
    }


def _changes() -> Iterator[Sequence[State]]:
    """Of each round, what each site changed."""
    random = np.random.default_rng(1)
    for _ in range(ROUNDS):
        yield [_change(random) for _ in EXAMPLES]


def _change(random: np.random.Generator) -> State:
    return {name: np.asarray(1e-2 * random.normal(size=v.shape), np.float32) for name, v in _start().items()}


def _ours(name: str, folder: Path) -> Iterator[State]:
    rule, model, last = optimizer_for(ServerSpec.model_validate({"optimizer": name} | _ASKED[name])), _start(), None
    for number, sites in enumerate(_changes(), start=1):
        before, target = _packed(folder / f"model-{number}", model), folder / f"moments-{number}"
        updates = [(n, _packed(folder / f"{number}-{n}", c)) for c, n in zip(sites, EXAMPLES, strict=True)]
        with Moments(target, kinds=rule.kinds, tensors=before.table(), number=number, last=last) as moments:
            model = join(before.table(), rule.step(before, fold(updates, before), moments))
            last = target if moments.finish() else None
        yield model


def _packed(path: Path, state: State) -> PackedFile:
    path.write_bytes(pack(state))
    return PackedFile(path)


def _theirs(name: str) -> Iterator[State]:
    rule, model = _strategy(name, _ASKED[name]), _start()
    TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = 1, 1, 0  # else no message can be made
    if isinstance(rule, strategy.FedAvgM):
        rule.current_arrays = _record(model)  # which Flower's own loop sets in the first round
    for number, sites in enumerate(_changes(), start=1):
        if isinstance(rule, strategy.FedAdam | strategy.FedYogi | strategy.FedAdagrad):
            rule.current_arrays = model
        replies = [_reply({k: model[k] + c[k] for k in model}, n) for c, n in zip(sites, EXAMPLES, strict=True)]
        arrays, _ = rule.aggregate_train(number, replies)
        assert arrays is not None
        model = {k: array.numpy() for k, array in arrays.items()}
        yield model


def _strategy(name: str, asked: dict[str, float]) -> strategy.FedAvg:
    eta, tau = asked.get("learning_rate", 1.0), asked.get("tau", 0.0)
    match name:
        case "fedavgm":
            return strategy.FedAvgM(server_learning_rate=eta, server_momentum=asked["momentum"])
        case "fedadam":
            return strategy.FedAdam(eta=eta, tau=tau, **BETAS)
        case "fedyogi":
            return strategy.FedYogi(eta=eta, tau=tau, **BETAS)
        case "fedadagrad":
            return strategy.FedAdagrad(eta=eta, tau=tau)
    return strategy.FedAvg()


def _record(state: State) -> ArrayRecord:
    return ArrayRecord({name: FlowerArray(value) for name, value in state.items()})


def _reply(state: State, examples: int) -> Message:
    content = RecordDict({"arrays": _record(state), "metrics": MetricRecord({"num-examples": examples})})
    return Message(content, reply_to=Message(RecordDict(), 1, "train"))
