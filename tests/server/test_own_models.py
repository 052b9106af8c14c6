"""A site's own model is the state that the site had after its training, by the round's own arithmetic."""

from pathlib import Path

import numpy as np

from client.work.change import change_of
from server.own_models import moved_by
from shared.update import CONTROL, Array, PackedFile, pack, pack_pieces, table_of

STATE = {
    "conv.weight": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "norm.running_mean": np.array([0.5, -0.25], np.float32),
    "norm.running_var": np.array([1.0, 2.0], np.float32),
    "norm.num_batches_tracked": np.array(4, np.int64),
}


def packed(path: Path, state: dict[str, Array]) -> PackedFile:
    path.write_bytes(pack(state))
    return PackedFile(path)


def own(tmp_path: Path, start: dict[str, Array], update: dict[str, Array]) -> dict[str, Array]:
    pieces = moved_by(packed(tmp_path / "update", update), packed(tmp_path / "start", start))
    (tmp_path / "own").write_bytes(b"".join(pack_pieces(table_of(start), pieces)))
    return dict(PackedFile(tmp_path / "own").items())


def test_it_is_what_the_site_had_after_training_batch_norm_included(tmp_path: Path) -> None:
    trained = {
        "conv.weight": STATE["conv.weight"] * np.float32(1.1),
        "norm.running_mean": np.array([0.75, 0.0], np.float32),
        "norm.running_var": np.array([0.5, 3.0], np.float32),
        "norm.num_batches_tracked": np.array(9, np.int64),
    }
    found = own(tmp_path, STATE, change_of(STATE, trained))
    assert found.keys() == trained.keys()
    for name, value in trained.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)
        assert found[name].dtype == value.dtype


def test_control_variates_do_not_touch_the_weights(tmp_path: Path) -> None:
    start = {"w": np.ones(3, np.float32), f"{CONTROL}w": np.zeros(3, np.float32)}
    update = {"w": np.full(3, 0.5, np.float32), f"{CONTROL}w": np.full(3, 7.0, np.float32)}
    np.testing.assert_array_equal(own(tmp_path, start, update)["w"], np.full(3, 1.5, np.float32))
