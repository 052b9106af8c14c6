import numpy as np
import pytest

from client.work.change import IDENTITY, Change, apply, change_of


def states() -> tuple[Change, Change]:
    incoming: Change = {"w": np.array([[1.0, 2.0]], np.float32), "seen": np.array(3, np.int64)}
    local: Change = {"w": np.array([[1.5, 1.0]], np.float32), "seen": np.array(8, np.int64)}
    return incoming, local


def test_floats_are_differences_and_integers_the_local_value() -> None:
    change = change_of(*states())
    assert change["w"].dtype == np.float32
    assert change["w"].tolist() == [[0.5, -1.0]]
    assert change["seen"].dtype == np.int64
    assert change["seen"] == 8
    assert change["seen"].shape == ()


def test_an_untrained_state_changes_nothing() -> None:
    incoming, _ = states()
    assert not change_of(incoming, incoming)["w"].any()


def test_the_change_is_memory_of_its_own() -> None:
    incoming, local = states()
    change = change_of(incoming, local)
    change["seen"][...] = 0
    change["w"][...] = 0
    assert local["seen"] == 8
    assert local["w"].any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"w": np.zeros((1, 2), np.float32)},
        {"w": np.zeros((2, 1), np.float32), "seen": np.array(1)},
        {"w": np.zeros((1, 2), np.float64), "seen": np.array(1)},
        {"w": np.zeros((1, 2), np.float32), "seen": np.array(1), "more": np.array(1)},
    ],
)
def test_a_state_of_another_model_is_refused(wrong: Change) -> None:
    with pytest.raises(ValueError, match="tensors of the incoming"):
        change_of(states()[0], wrong)


def test_steps_apply_first_to_last() -> None:
    def double(change: Change) -> Change:
        return {name: value * 2 for name, value in change.items()}

    def add_one(change: Change) -> Change:
        return {name: value + 1 for name, value in change.items()}

    change: Change = {"w": np.array([3.0], np.float32)}
    assert apply(change, (double, add_one))["w"] == 7
    assert apply(change, (add_one, double))["w"] == 8


def test_the_pipeline_of_today_changes_nothing() -> None:
    change = change_of(*states())
    assert IDENTITY == ()
    assert apply(change) is change
