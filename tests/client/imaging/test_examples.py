"""The shapes that cross from imaging to learning."""

import numpy as np
import pytest

from client.imaging.examples import Counts, Examples, Split


def _examples(count: int = 3, **changes: np.ndarray) -> Examples:
    fields = {
        "images": np.zeros((count, 1, 16, 16), dtype=np.uint16),
        "labels": np.zeros(count, dtype=np.int64),
        "patients": np.arange(count, dtype=np.int64),
    }
    return Examples(**{**fields, **changes})


def test_length_and_patients() -> None:
    examples = _examples(4, patients=np.array([0, 0, 1, 2]))
    assert len(examples) == 4
    assert examples.patient_count == 3


def test_an_empty_split_has_no_patients() -> None:
    assert _examples(0).patient_count == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.zeros(2, dtype=np.int64)},
        {"labels": np.zeros(3, dtype=np.int32)},
        {"patients": np.zeros(3, dtype=np.float64)},
        {"images": np.zeros((3, 1, 16, 16), dtype=np.uint8)},
        {"traits": np.zeros((2, 3), dtype=np.int8)},
        {"traits": np.zeros((3, 3), dtype=np.int64)},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"length|uint16|int8"):
        _examples(3, **changes)


def test_counts_must_add_up() -> None:
    none = dict.fromkeys(Split, 0)
    with pytest.raises(ValueError, match="found"):
        Counts(3, 1, {"unreadable": 1}, none, none, {})
    assert Counts(3, 2, {"unreadable": 1}, none, none, {}).found == 3
