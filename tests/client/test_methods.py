"""The site's side of a method: what goes into a round and what comes out of it."""

import numpy as np
import pytest

from client.methods import Method

GLOBAL = {"conv": np.array([1.0, 2.0], np.float32)}
OWN = {"norm": np.array([5.0], np.float32), "count": np.array(7, np.int64)}


def test_without_own_tensors_the_whole_state_travels_and_nothing_is_kept() -> None:
    method = Method({})
    assert method.begin(GLOBAL, None) == GLOBAL
    change, kept = method.end(GLOBAL, {"conv": np.array([1.5, 2.0], np.float32)})
    assert {name: value.tolist() for name, value in change.items()} == {"conv": [0.5, 0.0]}
    assert kept == {}


def test_own_tensors_go_on_where_they_were_and_do_not_travel() -> None:
    method = Method(OWN)
    assert method.begin(GLOBAL, None) == {**GLOBAL, **OWN}
    trained = {
        "conv": np.array([0.0, 2.0], np.float32),
        "norm": np.array([6.0], np.float32),
        "count": np.array(9, np.int64),
    }
    change, kept = method.end(GLOBAL, trained)
    assert {name: value.tolist() for name, value in change.items()} == {"conv": [-1.0, 0.0]}
    assert {name: value.tolist() for name, value in kept.items()} == {"norm": [6.0], "count": 9}
    assert method.begin(GLOBAL, kept)["norm"].tolist() == [6.0]


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="tensors of the incoming one"):
        Method({}).end(GLOBAL, {"conv": np.zeros(3, np.float32)})
