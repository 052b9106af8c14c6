"""The auditor's arithmetic against the server's: two pieces of code, one model, bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.audit.folding import Remembered, Weighed, next_model
from server.aggregate import fold
from server.efforts import efforts_of
from server.moments import Moments
from server.optimizers import optimizer_for
from server.rounding import mover_of
from shared.study import Study
from shared.update import PIECE_ELEMENTS, PackedFile, Tensors, join, model_table, pack, rounded_to, table_of

State = Mapping[str, np.ndarray]
COUNTS = ((7, 1.0, 3), (20, 1.0, 5), (5, 0.5, 2))  # examples, discount, steps
SHARE = 0.8


def study(*, training: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Study:
    plain = {"study": {"name": "chest"}, "task": {"classes": ("opacity",)}, "training": {"epochs_per_round": 1}}
    return Study.model_validate(plain | {"training": plain["training"] | (training or {})} | sections)  # type: ignore[operator]


def drawn(rng: np.random.Generator, *, scale: float) -> dict[str, np.ndarray]:
    def some(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * scale).astype(np.float32)

    return {
        "w": some(PIECE_ELEMENTS // 8 + 3, 9),  # more than one piece for the server
        "b": some(4),
        "scalar": np.asarray(np.float32(rng.normal() * scale)),
        "n.running_mean": some(4),
        "n.running_var": np.abs(some(4)),
        "n.num_batches_tracked": np.asarray(rng.integers(0, 50), np.int64),
        "control/b": some(4),
        "lonely.running_var": np.abs(some(3)),
    }


def write(path: Path, state: State, table: Tensors | None = None) -> PackedFile:
    path.write_bytes(pack(state, table))
    return PackedFile(path)


def by_the_server(folder: Path, model: PackedFile, updates: list[PackedFile], asked: Study, number: int) -> bytes:
    """As `server/conductor.py` commits a round."""
    efforts = efforts_of(asked.training, (steps for _, _, steps in COUNTS))
    weighed = [(n * discount, file) for (n, discount, _), file in zip(COUNTS, updates, strict=True)]
    total = sum(n for n, _, _ in COUNTS) if asked.rounds.buffer else None
    aggregate = fold(weighed, model, efforts=efforts, share=SHARE, total=total)
    rule, last = mover_of(asked), folder / f"moments-{number - 1}"
    target, before = folder / f"moments-{number}", last if last.exists() else None
    with Moments(target, kinds=rule.kinds, tensors=model.table(), number=number, last=before) as moments:
        state = join(model.table(), rule.step(model, aggregate, moments))
        moments.finish()
    return pack(state, model.table())


@pytest.mark.parametrize(
    "asked",
    [
        study(),
        study(training={"algorithm": "fednova", "momentum": 0.7}),
        study(training={"algorithm": "scaffold", "momentum": 0.0}),
        study(rounds={"buffer": 2, "quorum": 2}),
        study(server={"optimizer": "fedavg", "learning_rate": 0.3}),
        study(server={"optimizer": "fedavgm"}),
        study(server={"optimizer": "fedadam"}),
        study(server={"optimizer": "fedyogi", "beta_1": 0.5}),
        study(server={"optimizer": "fedadagrad", "tau": 0.01}),
        study(transfer={"model_dtype": "bfloat16"}),
        study(server={"optimizer": "fedadam"}, transfer={"model_dtype": "bfloat16", "update_dtype": "bfloat16"}),
    ],
    ids=lambda asked: (
        f"{asked.training.algorithm}-{asked.server.optimizer}-{asked.rounds.buffer or asked.transfer.model_dtype}"
    ),
)
def test_three_rounds_come_out_the_same(tmp_path: Path, asked: Study) -> None:
    rng, remembered = np.random.default_rng(0), Remembered()
    model = drawn(rng, scale=1.0)
    table = model_table(table_of(model), asked.transfer.model_dtype)
    model = rounded_to(model, table)
    for number in (1, 2, 3):
        before = write(tmp_path / f"model-{number}", model, table)
        updates = [write(tmp_path / f"{number}-{i}", drawn(rng, scale=0.03)) for i in range(len(COUNTS))]
        theirs = by_the_server(tmp_path, before, updates, asked, number)
        weighed = [Weighed(file, *about) for file, about in zip(updates, COUNTS, strict=True)]
        model = next_model(model, weighed[::-1], asked, remembered, number=number, share=SHARE)
        assert pack(model, table) == theirs
        assert pack(model, table) != before.path.read_bytes()


def test_where_nobody_counts_an_example_the_sites_weigh_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model, updates = drawn(rng, scale=1.0), [write(tmp_path / str(i), drawn(rng, scale=0.1)) for i in range(2)]
    before = write(tmp_path / "model", model)
    made = next_model(model, [Weighed(u, 0, 1.0, 4) for u in updates], study(), Remembered(), number=1, share=1.0)
    rule = optimizer_for(study().server)
    with Moments(tmp_path / "m", kinds=(), tensors=(), number=1) as moments:
        state = join(before.table(), rule.step(before, fold([(0, u) for u in updates], before), moments))
    assert pack(made) == pack(state)
