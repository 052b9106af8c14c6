"""Moments: zeros at first, then the last round's, changed run by run, whole under their name or not there."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from server.moments import Moments, moment_table
from shared.update import PIECE_ELEMENTS, PackedFile, TensorSpec, table_of

MODEL = table_of({"w": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32), "n": np.array(0, np.int64)})
KINDS = ("momentum", "variance")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_kind_has_the_models_floating_point_tensors() -> None:
    assert [(t.name, t.shape) for t in moment_table(KINDS, MODEL)] == [
        ("momentum/b", (4,)),
        ("momentum/w", (2, 3)),
        ("variance/b", (4,)),
        ("variance/w", (2, 3)),
    ]


def test_a_round_goes_on_from_the_one_before(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with Moments(first, kinds=KINDS, tensors=MODEL, number=1) as moments:
        assert moments.read("variance", "w", 1, 4).tolist() == [0.0] * 4
        moments.write("variance", "w", 1, np.array([1.5, 2.5]))
        moments.write("momentum", "b", 3, np.array([-1.0]))
        digest = moments.finish()
    assert digest == hashlib.sha256(first.read_bytes()).hexdigest()
    with Moments(second, kinds=KINDS, tensors=MODEL, number=2, last=first) as moments:
        assert moments.read("variance", "w", 0, 6).tolist() == [0, 1.5, 2.5, 0, 0, 0]
        moments.write("variance", "w", 0, np.array([7.0]))
        moments.finish()
    assert PackedFile(second).tensor("variance/w").tolist() == [[7, 1.5, 2.5], [0, 0, 0]]
    assert PackedFile(second).tensor("momentum/b").tolist() == [0, 0, 0, -1]
    assert PackedFile(first).tensor("variance/w").tolist() == [[0, 1.5, 2.5], [0, 0, 0]]
    assert names(tmp_path) == ["first", "second"]


def test_a_step_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with Moments(tmp_path / "m", kinds=KINDS, tensors=MODEL, number=1) as moments:
            moments.write("momentum", "b", 0, np.ones(4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert names(tmp_path) == []


def test_a_rule_without_memory_makes_no_file(tmp_path: Path) -> None:
    with Moments(tmp_path / "m", kinds=(), tensors=MODEL, number=1) as moments:
        assert moments.finish() is None
    assert names(tmp_path) == []


def test_moments_never_stand_whole_in_memory(tmp_path: Path) -> None:
    large = (TensorSpec(name="w", dtype="float32", shape=(16, PIECE_ELEMENTS)),)
    run = np.ones(PIECE_ELEMENTS)
    tracemalloc.start()
    for number, last in ((1, None), (2, tmp_path / "m1")):
        with Moments(tmp_path / f"m{number}", kinds=KINDS, tensors=large, number=number, last=last) as moments:
            for start in range(0, 16 * PIECE_ELEMENTS, PIECE_ELEMENTS):
                moments.write("momentum", "w", start, moments.read("momentum", "w", start, PIECE_ELEMENTS) + run)
            moments.finish()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * 4 * PIECE_ELEMENTS
    assert PackedFile(tmp_path / "m2").run("momentum/w", 5, 7).tolist() == [2, 2]
