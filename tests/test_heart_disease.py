"""The engine on tabular patients: four hospitals' heart disease records, prepared as FLamby does.

Ogier du Terrail et al. 2022 ("FLamby", Fed-Heart-Disease): the last three features and every row with a
gap are dropped, chest pain and ECG become indicators, and two thirds of each hospital's patients train a
logistic regression in 100 local updates a round. Published accuracy: pooled .795, FedAvg .748. Instead
of Adam on raw features, SGD on features in round units, which need no statistic of any site.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from client.work.change import change_of
from server.aggregate import fold
from server.moments import Moments
from server.optimizers import optimizer_for
from shared.server_step import ServerSpec
from shared.update import Array, PackedFile, join, pack

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
ROUNDS, UPDATES, BATCH, RATE = 15, 100, 4, 0.05
SEEDS = range(2)
INDICATED = {2: (1, 2, 3, 4), 6: (0, 1, 2)}  # chest pain, resting ECG; the first value is the reference
UNITS = {0: 100, 3: 200, 4: 500, 7: 200, 9: 5}  # years, mm Hg, mg/dl, beats per minute, mm

State = dict[str, Array]


class Records(NamedTuple):
    """Features (n, 13) and labels (n,), 0 or 1."""

    features: Array
    labels: Array


class Hospital(NamedTuple):
    """Two thirds of the patients of each label to train on, one third to test."""

    train: Records
    test: Records


def prepared(path: Path) -> Records:
    """One hospital's rows without a gap."""
    with path.open() as file:
        rows = [row[:10] + row[13:] for row in list(csv.reader(file))[1:]]
    whole = np.array([row for row in rows if not {"", "?"} & set(row)], dtype=float)
    columns = [
        *(whole[:, [i]] / UNITS.get(i, 1) for i in range(10) if i not in INDICATED),
        *(whole[:, [i]] == value for i, values in INDICATED.items() for value in values[1:]),
    ]
    return Records(np.hstack(columns), (whole[:, -1] > 0).astype(float))


def split(records: Records, rng: np.random.Generator) -> Hospital:
    train: list[int] = []
    for label in (0, 1):
        of_label = rng.permutation(np.flatnonzero(records.labels == label))
        train += of_label[: round(len(of_label) * 2 / 3)].tolist()
    chosen = np.isin(np.arange(len(records.labels)), train)
    return Hospital(*(Records(records.features[part], records.labels[part]) for part in (chosen, ~chosen)))


def trained(state: State, records: Records, rng: np.random.Generator, *, updates: int) -> State:
    """Logistic regression by SGD in batches of four, from a state."""
    weight, bias = state["weight"].astype(float), float(state["bias"])
    for _ in range(updates):
        batch = rng.integers(0, len(records.labels), BATCH)
        x, y = records.features[batch], records.labels[batch]
        error = 1 / (1 + np.exp(-(x @ weight + bias))) - y
        weight -= RATE * error @ x / BATCH
        bias -= RATE * error.mean()
    return {"weight": weight.astype(np.float32), "bias": np.array(bias, np.float32)}


def accuracy(state: State, hospitals: list[Hospital]) -> float:
    """On the test patients of all hospitals."""
    right = [(h.test.features @ state["weight"] + state["bias"] > 0) == h.test.labels for h in hospitals]
    return float(np.concatenate(right).mean())


def start() -> State:
    return {"weight": np.zeros(13, np.float32), "bias": np.zeros((), np.float32)}


def federated(folder: Path, hospitals: list[Hospital], seed: int, spec: ServerSpec) -> State:
    """Rounds of the engine: packed changes, the fold, the server's step."""
    state, rule, last = start(), optimizer_for(spec), None
    for number in range(1, ROUNDS + 1):
        (folder / "model").write_bytes(pack(state))
        updates = []
        for index, hospital in enumerate(hospitals):
            local = trained(state, hospital.train, np.random.default_rng([seed, number, index]), updates=UPDATES)
            path = folder / f"update-{index}"
            path.write_bytes(pack(change_of(state, local)))
            updates.append((len(hospital.train.labels), PackedFile(path)))
        model, target = PackedFile(folder / "model"), folder / f"moments-{number}"
        with Moments(target, kinds=rule.kinds, tensors=model.table(), number=number, last=last) as moments:
            state = join(model.table(), rule.step(model, fold(updates, model), moments))
            last = target if moments.finish() else None
    return state


def pooled(hospitals: list[Hospital], seed: int) -> State:
    """All patients in one place, as many updates as all sites take together."""
    everyone = Records(*(np.concatenate(parts) for parts in zip(*(h.train for h in hospitals), strict=True)))
    return trained(start(), everyone, np.random.default_rng(seed), updates=ROUNDS * UPDATES * len(hospitals))


@pytest.fixture(scope="module")
def splits(shared_data: Path) -> list[list[Hospital]]:
    folder = shared_data / "heart_disease_4sites"
    records = [prepared(folder / f"processed.{name}.data") for name in HOSPITALS]
    assert [len(r.labels) for r in records] == [303, 261, 46, 130]
    return [[split(r, np.random.default_rng([seed, 43])) for r in records] for seed in SEEDS]


def folders(root: Path) -> Iterator[Path]:
    for seed in SEEDS:
        (root / str(seed)).mkdir()
        yield root / str(seed)


def test_pooled_patients_reach_the_published_accuracy(splits: list[list[Hospital]]) -> None:
    found = [accuracy(pooled(hospitals, seed), hospitals) for seed, hospitals in zip(SEEDS, splits, strict=True)]
    assert np.mean(found) >= 0.77


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"optimizer": "fedavgm", "momentum": 0.5},
        {"optimizer": "fedadam", "learning_rate": 0.05},
        {"optimizer": "fedyogi", "learning_rate": 0.05},
        {"optimizer": "fedadagrad", "learning_rate": 0.05},
    ],
    ids=lambda asked: asked.get("optimizer", "fedavg"),
)
def test_federated_hospitals_reach_the_published_accuracy(
    tmp_path: Path, splits: list[list[Hospital]], asked: dict[str, object]
) -> None:
    spec = ServerSpec.model_validate(asked)
    found = [
        accuracy(federated(folder, hospitals, seed, spec), hospitals)
        for folder, seed, hospitals in zip(folders(tmp_path), SEEDS, splits, strict=True)
    ]
    assert np.mean(found) >= 0.72
