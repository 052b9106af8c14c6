"""Which value is black and which is white."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from client.imaging.window import own_limits, spread, to_uint16, usable_window, window


def _by_pydicom(values: np.ndarray, *, center: float, width: float, function: str) -> np.ndarray:
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.PixelRepresentation = "MONOCHROME2", 16, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = center, width, function
    return np.asarray(apply_windowing(values, dataset) / 65535)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40.0, 400.0), (2048.0, 4096.0), (100.5, 2.0)])
def test_the_window_agrees_with_pydicom(function: str, center: float, width: float) -> None:
    values = np.linspace(0, 4000, 1001)
    ours = window(values, center=center, width=width, function=function)
    np.testing.assert_allclose(ours, _by_pydicom(values, center=center, width=width, function=function), atol=1e-9)


def test_the_ends_of_a_linear_window() -> None:
    # PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 maps 0 to the bottom and 4095 to the top.
    found = window(np.array([-1.0, 0.0, 4095.0, 5000.0]), center=2048, width=4096, function="LINEAR")
    np.testing.assert_array_equal(found, [0, 0, 1, 1])


def test_a_linear_window_of_width_one_is_a_step() -> None:
    found = window(np.array([9.0, 9.5, 9.6, 10.0]), center=10, width=1, function="LINEAR")
    np.testing.assert_array_equal(found, [0, 0, 1, 1])


def test_a_far_sigmoid_does_not_overflow() -> None:
    np.testing.assert_array_equal(window(np.array([-1e9, 1e9]), center=0, width=1, function="SIGMOID"), [0, 1])


@pytest.mark.parametrize(
    ("center", "width", "function", "allowed"),
    [
        (0, 1, "LINEAR", True),
        (0, 0.5, "LINEAR", False),
        (0, 0.5, "LINEAR_EXACT", True),
        (0, 0, "SIGMOID", False),
        (0, -4, "LINEAR", False),
        (float("nan"), 4, "LINEAR", False),
        (0, float("inf"), "LINEAR", False),
    ],
)
def test_usable_windows(center: float, width: float, function: str, allowed: bool) -> None:
    assert usable_window(center=center, width=width, function=function) is allowed


def test_stretch_leaves_out_padding_and_outliers() -> None:
    values = np.arange(1000.0)
    values[0] = -1e6
    values[1] = 1e6
    valid = values != 1e6
    found = spread(values, *own_limits(values, valid=valid))
    assert found.min() == 0
    assert found.max() == 1
    assert 0.45 < found[500] < 0.55


def test_stretch_keeps_a_mark_on_a_flat_image() -> None:
    values = np.zeros(1000)
    values[0] = 5
    assert spread(values, *own_limits(values, valid=np.ones(1000, dtype=bool)))[0] == 1


@pytest.mark.parametrize("valid", [True, False])
def test_a_flat_or_all_padding_image_is_black(valid: bool) -> None:
    flat = np.full(9, 7.0)
    np.testing.assert_array_equal(spread(flat, *own_limits(flat, valid=np.full(9, valid))), np.zeros(9))


def test_rounding_to_uint16() -> None:
    found = to_uint16(np.array([-0.1, 0, 0.5, 1, 1.1]))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, [0, 0, 32768, 65535, 65535])
